import { Heading, useSort } from "../heading.js";
import { sorted } from "../sorting.js";
import { html, Section, useEffect, useState } from "../ui.js";
import { usePlot } from "../vega.js";

/** @typedef {Props<"layers">["view"]} Shown */

/** @type {Record<string, (row: View.LayerRow) => string | number | null>} */
const ORDER = {
  layer: (r) => r.id,
  shape: (r) => `${r.kind} ${r.shape}`,
  recipe: (r) => r.actions.filter((a) => a.applies).length,
  error: (r) => r.error.value,
};
// What a row is sorted by in a column; the cells stand in the order of the columns of heat.
/** @param {View.Heading[]} columns */
const valueIn = (columns) => {
  const heat = columns.filter((c) => c.heat).map((c) => c.key);
  return (/** @type {View.LayerRow} */ row, /** @type {string} */ column) => (ORDER[column] ? ORDER[column](row) : row.cells[heat.indexOf(column)]?.value);
};

/** @param {{ cell: View.HeatCell }} props */
const Heat = ({ cell }) => html`
  <td class="wb-num wb-heat" style="--heat:${Math.round(cell.heat * 34)}%" title=${cell.title}>
    ${cell.text}${cell.sub && html`<small class=${cell.trend}>${cell.sub}</small>`}
  </td>`;

/** @param {{ actions: View.LayerAction[] }} props */
const Actions = ({ actions }) => html`
  <td class="wb-actions">
    ${actions.map(
      (a) => html`<p class=${a.applies ? "" : "wb-left-alone"}>
        <b>${a.step}</b>${a.part && html` <small>(part ${a.part})</small>`}: ${a.text}
      </p>`,
    )}
  </td>`;

/** @param {{ row: View.LayerRow, send: Send }} props */
const Row = ({ row, send }) => html`
  <tr class="t-layer ${row.chosen ? "wb-selected" : ""}" data-layer=${row.id}>
    <th scope="row">
      <label class="wb-layer">
        <input
          type="checkbox"
          checked=${row.chosen}
          disabled=${!row.module}
          onChange=${() => send("toggle", { layer: row.module })}
        />
        <span>${row.id.split(/(?<=\.)/).map((part) => html`${part}<wbr />`)}</span>
      </label>
    </th>
    <td class="wb-shape">${row.kind}<small>${row.shape}</small></td>
    ${row.cells.map((cell) => html`<${Heat} cell=${cell} />`)}
    <${Actions} actions=${row.actions} />
    <${Heat} cell=${row.error} />
  </tr>`;

/** @param {{ view: Shown, send: Send }} props */
const CostTabs = ({ view, send }) => html`
  <span class="wb-tabs" role="group" aria-label="Cost in the chart">
    ${view.costs.map(
      (c) => html`<button
        type="button"
        class="t-cost-${c.value}"
        aria-pressed=${c.value === view.cost ? "true" : "false"}
        onClick=${() => send("cost", { cost: c.value })}
      >
        ${c.label}
      </button>`,
    )}
  </span>`;

/** @param {{ view: Shown & { chart: View.Drawing }, send: Send }} props */
const Chart = ({ view, send }) => {
  /** @param {string} id */
  const onPick = (id) => {
    const module = view.rows.find((row) => row.id === id)?.module;
    if (module) send("toggle", { layer: module });
  };
  const { box, plot } = usePlot({ onPick });
  useEffect(() => plot.current?.show(view.chart), [view]);
  return html`<div class="wb-plot wb-plot-low"><div class="wb-vega t-layer-chart" ref=${box}></div></div>`;
};

/** @param {{ ask: View.Ask, send: Send }} props */
const Ask = ({ ask, send }) => html`<button
  type="button"
  class="wb-small t-ask-${ask.action}"
  disabled=${!ask.enabled}
  title=${ask.hint}
  onClick=${() => send(ask.action)}
>
  ${ask.label}
</button>`;

/** @param {{ view: Shown, send: Send }} props */
const Table = ({ view, send }) => {
  const [sort, setSort] = useSort();
  const [all, setAll] = useState(false);
  const rows = sorted(all ? view.rows : view.rows.filter((row) => row.main), /** @type {string | null} */ (sort.column), sort.down, valueIn(view.columns));
  const others = view.rows.filter((row) => !row.main).length;
  return html`
    <div class="wb-line wb-scope">
      <p class="t-scope" role="status">${view.scope}</p>
      ${view.chosen > 0 && html`<button type="button" class="wb-small t-scope-all" onClick=${() => send("scope", { layers: [] })}>Every layer</button>`}
      <span class="wb-asks">${view.asks.map((ask) => html`<${Ask} key=${ask.action} ask=${ask} send=${send} />`)}</span>
    </div>
    <div class="wb-scroll wb-scroll-tall" tabindex="0" role="region" aria-label="Table of layers">
      <table class="wb-table t-layers">
        <thead>
          <tr>${view.columns.map((c) => html`<${Heading} key=${c.key} column=${c} sort=${sort} setSort=${setSort} />`)}</tr>
        </thead>
        <tbody>${rows.map((row) => html`<${Row} key=${row.id} row=${row} send=${send} />`)}</tbody>
      </table>
    </div>
    ${others > 0 &&
    html`<label class="wb-check"><input type="checkbox" checked=${all} onChange=${(e) => setAll(e.target.checked)} />
      Show the ${others} operations without MACs (normalisation, sums, pooling)</label>`}
    <p class="wb-help">${view.note}</p>`;
};

/** @param {Props<"layers">} props */
export const Layers = ({ view, send }) => html`
  <${Section} title="Layers" aside=${view.chart && html`<${CostTabs} view=${view} send=${send} />`}>
    ${view.empty && html`<p class="wb-empty">${view.empty}</p>`}
    ${view.chart &&
    html`<${Chart} view=${view} send=${send} />
      <p class="wb-help">${view.summary && html`<b>${view.summary}.</b> `}${view.chart.summary}</p>
      <${Table} view=${view} send=${send} />`}
  <//>`;

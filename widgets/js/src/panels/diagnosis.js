import { Heading, useSort } from "../heading.js";
import { sorted } from "../sorting.js";
import { html, Section, useEffect } from "../ui.js";
import { usePlot } from "../vega.js";
import { Pictures } from "./pictures.js";

/** @typedef {Props<"diagnosis">["view"]} Shown */

const COLUMNS = [
  { key: 0, label: "SQNR, with errors before", numeric: true },
  { key: 1, label: "SQNR, its own", numeric: true },
  { key: 2, label: "Clipped", numeric: true },
];

// A cell that is clicked chooses its layer for the step being edited, as in the region of layers.
/** @param {{ chart: View.Drawing, chosen: string, send: Send }} props */
const Strip = ({ chart, chosen, send }) => {
  const { box, plot } = usePlot({ onPick: (layer) => send("toggle", { layer }) });
  useEffect(() => plot.current?.show({ ...chart, selected: chosen }), [chart, chosen]);
  return html`<div class="wb-plot wb-plot-low"><div class="wb-vega t-strip" ref=${box}></div></div>`;
};

/** @param {{ row: View.LayerError, chosen: boolean, send: Send }} props */
const Row = ({ row, chosen, send }) => html`
  <tr class="t-error ${chosen ? "wb-selected" : ""}">
    <th scope="row">${row.layer}${row.note && html`<small>${row.note}</small>`}</th>
    ${row.cells.map((cell) => html`<td class="wb-num wb-heat" style="--heat:${Math.round(cell.heat * 34)}%">${cell.text}</td>`)}
    <td>
      ${row.changed
        ? html`<button type="button" class="wb-small t-restore" aria-label="Restore ${row.layer}" onClick=${() => send("restore", { layers: [row.layer] })}>Restore</button>`
        : html`<small>left alone</small>`}
    </td>
  </tr>`;

/** @param {{ view: Shown, send: Send }} props */
const Layers = ({ view, send }) => {
  const [sort, setSort] = useSort();
  const chosen = view.chosen_id.split(" ");
  const rows = sorted(view.layers, /** @type {number | null} */ (sort.column), sort.down, (row, key) => row.cells[key].value);
  return html`<div class="wb-scroll" tabindex="0" role="region" aria-label="Error of every layer, scrollable">
    <table class="wb-table t-errors">
      <thead>
        <tr>
          <th scope="col">Layer</th>
          ${COLUMNS.map((c) => html`<${Heading} key=${c.key} column=${c} sort=${sort} setSort=${setSort} />`)}
          <th scope="col">As in the original</th>
        </tr>
      </thead>
      <tbody>${rows.map((row) => html`<${Row} key=${row.layer} row=${row} chosen=${chosen.includes(row.layer)} send=${send} />`)}</tbody>
    </table>
  </div>`;
};

/** @param {{ title: string, heads: string[], rows: string[][] }} props */
const Small = ({ title, heads, rows }) => html`
  <div class="wb-small-table" tabindex="0" role="region" aria-label=${title}>
    <h3>${title}</h3>
    <table class="wb-table">
      <thead><tr>${heads.map((h, i) => html`<th scope="col" class=${i ? "wb-num" : ""}>${h}</th>`)}</tr></thead>
      <tbody>
        ${rows.map((cells) => html`<tr><th scope="row">${cells[0]}</th>${cells.slice(1).map((c) => html`<td class="wb-num">${c}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;

/** @param {{ found: View.BisectionView, send: Send }} props */
const Found = ({ found, send }) => html`
  <div class="wb-export t-bisection">
    ${found.sentences.map((s) => html`<p>${s}</p>`)}
    ${found.layers.length > 0 &&
    html`<div class="wb-line">
      <button type="button" class="t-restore-all" onClick=${() => send("restore", { layers: found.layers })}>Edit the recipe with them restored</button>
    </div>`}
    <details>
      <summary>What was tried (${found.trials.length})</summary>
      <${Small} title="Restored layers, and the loss that was left" heads=${["Restored", "Left"]} rows=${found.trials.map((t) => [t.restored, t.left])} />
    </details>
  </div>`;

/** @param {Props<"diagnosis">} props */
export const DiagnosisPanel = ({ view, send }) => html`
  <${Section} title="Diagnosis">
    ${view.empty && html`<p class="wb-empty">${view.empty}</p>`}
    ${view.id &&
    html`<div class="wb-line">
      <button type="button" class="t-diagnose" disabled=${view.busy} onClick=${() => send("diagnose")}>Diagnose ${view.name}</button>
      <button type="button" class="t-bisect" disabled=${view.busy} onClick=${() => send("bisect")}>Find the layers to blame</button>
    </div>`}
    ${view.bisection && html`<${Found} found=${view.bisection} send=${send} />`}
    ${view.chart &&
    html`<div class="t-diagnosis">${view.sentences.map((s) => html`<p>${s}</p>`)}</div>
      <${Strip} chart=${view.chart} chosen=${view.chosen_id} send=${send} />
      <p class="wb-help">Signal over error in decibels: the lower, the less is left of the layer's result. ${view.chart.summary}</p>
      <${Layers} view=${view} send=${send} />
      <div class="wb-small-tables">
        <${Small} title="Which step did it" heads=${["Up to", "Right", "Lost here"]} rows=${view.steps.map((s) => [s.step, s.score, s.drop])} />
        ${view.classes.length > 0 &&
        html`<${Small} title="Who suffers most" heads=${["Class", "Points", "Taken for"]} rows=${view.classes.map((c) => [c.name, c.drop, c.taken])} />`}
      </div>
      ${view.pictures && html`<${Pictures} found=${view.pictures} names=${["the original", view.name]} />`}`}
  <//>`;

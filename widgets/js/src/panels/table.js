import { about } from "../about.js";
import { Heading, useSort } from "../heading.js";
import { sorted } from "../sorting.js";
import { onGround } from "../theme.js";
import { html, Section } from "../ui.js";
import { Label } from "./label.js";
import { Take } from "./take.js";

// A variant's figures, and under them the sentence that says why it is or is not faster.
/** @param {{ row: View.VariantRow, columns: View.Heading[], selected: boolean, beside: boolean, send: Send }} props */
const Row = ({ row, columns, selected, beside, send }) => html`
  <tr class="t-variant ${row.why ? "wb-has-why" : ""} ${selected ? "wb-selected" : ""} ${row.grey ? "wb-grey" : ""}" data-id=${row.id} onClick=${() => send("select", { id: row.id })}>
    <td class="wb-tick" onClick=${(/** @type {Event} */ e) => e.stopPropagation()}>
      <input type="checkbox" class="t-beside" aria-label="${row.name} side by side" checked=${beside} onChange=${(/** @type {any} */ e) => send("beside", { id: row.id, on: e.target.checked })} />
    </td>
    <th scope="row" style=${row.depth ? `padding-left:${8 + 20 * row.depth}px` : undefined}>
      <button type="button" class="wb-pick" aria-pressed=${selected ? "true" : "false"}>
        <svg viewBox="-6 -6 12 12" width="12" height="12" aria-hidden="true"><path
            d=${row.mark.path}
            fill=${onGround(row.mark.colour)}
            fill-opacity=${row.mark.hollow ? 0.12 : 1}
            stroke=${onGround(row.mark.colour)}
            stroke-width="1.2"
        /></svg>
        ${row.name}
      </button>
      <span class="wb-hidden">${row.mark.label}</span>
      ${row.remark && html`<small>${row.remark}</small>`}
    </th>
    ${row.cells.slice(1).map(
      (cell, i) => html`<td class=${columns[i + 1].numeric ? "wb-num" : ""}>
        ${cell.text}${cell.sub && html`<small>${cell.sub}</small>`}
      </td>`,
    )}
  </tr>
  ${row.why && html`<tr class="wb-why ${selected ? "wb-selected" : ""}" onClick=${() => send("select", { id: row.id })}>
    <td colspan=${columns.length + 1}><span>${row.why}</span></td>
  </tr>`}
  ${selected &&
  row.label &&
  html`<tr class="wb-label-row wb-selected">
    <td colspan=${columns.length + 1}><div><${Label} key=${row.id} label=${row.label} name=${row.name} send=${send} /></div></td>
  </tr>`}`;

/** @param {{ view: View.TableView, send: Send }} props */
const Columns = ({ view, send }) => {
  const shown = new Set(view.columns.map((c) => c.key));
  return html`<details class="t-columns">
    <summary>Columns</summary>
    <fieldset class="wb-line wb-shown">
      <legend class="wb-hidden">Columns of the table</legend>
      ${view.options.map(
        (o) => html`<label class="wb-check" title=${about(o.label)}>
          <input type="checkbox" class="t-column-${o.value}" checked=${shown.has(o.value)} onChange=${(/** @type {any} */ e) => send("columns", { column: o.value, on: e.target.checked })} />
          ${o.label}
        </label>`,
      )}
      <button type="button" class="wb-link t-usual-columns" onClick=${() => send("usual_columns")}>The usual ones</button>
    </fieldset>
  </details>`;
};

/** @param {Props<"table">} props */
export const Table = ({ view, send, model }) => {
  const [sort, setSort] = useSort();
  /** @param {View.VariantRow} row @param {string} key */
  const value = (row, key) => row.cells[view.columns.findIndex((c) => c.key === key)].value;
  const rows = sorted(view.rows, /** @type {string | null} */ (sort.column), sort.down, value);
  return html`
    <${Section} label="Table of variants">
      <div class="wb-line wb-table-tools">
        <label class="wb-check wb-lineage">
          <input type="checkbox" class="t-lineage" checked=${view.lineage} onChange=${(e) => send("lineage", { on: e.target.checked })} />
          By lineage: each recipe under the one that it continues
        </label>
        ${view.hidden > 0 &&
        html`<label class="wb-check">
          <input type="checkbox" class="t-archived" checked=${view.archived} onChange=${(/** @type {any} */ e) => send("archived", { on: e.target.checked })} />
          Archived too (${view.hidden})
        </label>`}
        ${view.files.length > 0 && html`<${Take} files=${view.files} model=${model} />`}
      </div>
      ${view.rows.length > 0 && html`<${Columns} view=${view} send=${send} />`}
      <div class="wb-scroll wb-scroll-tall" tabindex="0" role="region" aria-label="Table of variants, scrollable">
        <table class="wb-table t-table">
          <thead>
            <tr>
              <td class="wb-tick"><span class="wb-hidden">Side by side</span></td>
              ${view.columns.map((c) => html`<${Heading} key=${c.key} column=${c} sort=${sort} setSort=${setSort} />`)}
            </tr>
          </thead>
          <tbody>
            ${rows.map((row) => html`<${Row} key=${row.id} row=${row} columns=${view.columns} selected=${row.id === view.chosen_id} beside=${view.beside.includes(row.id)} send=${send} />`)}
          </tbody>
        </table>
      </div>
      ${rows.length === 0 && html`<p class="wb-empty">${view.empty}</p>`}
      <p class="wb-help">${view.note}</p>
    <//>`;
};

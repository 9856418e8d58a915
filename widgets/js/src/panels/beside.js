import { about } from "../about.js";
import { html, Section, useId } from "../ui.js";
import { Pictures } from "./pictures.js";

/** @param {{ cell: View.BesideCell }} props */
const Cell = ({ cell }) => html`<td class="wb-num">
  ${cell.text}${cell.sub && html`<small>${cell.sub}</small>`}${cell.change && html`<small class="wb-change ${cell.trend}">${cell.change}</small>`}
</td>`;

/** @param {{ label: string, head: string, view: View.BesideView, rows: View.BesideRow[], name: string }} props */
const Grid = ({ label, head, view, rows, name }) => html`
  <div class="wb-scroll wb-scroll-tall" tabindex="0" role="region" aria-label="${label}, scrollable">
    <table class="wb-table wb-sides t-beside-${name}">
      <thead>
        <tr><th scope="col">${head}</th>${view.variants.map((v, n) => html`<th scope="col" class="wb-num">${v.name}${n === 0 && html`<small>compared with</small>`}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<tr key=${row.label}><th scope="row" title=${about(row.label)}>${row.label}</th>${row.cells.map((cell) => html`<${Cell} cell=${cell} />`)}</tr>`)}
      </tbody>
    </table>
  </div>`;

/** @param {{ view: View.BesideView, send: Send }} props */
const Answers = ({ view, send }) => html`
  ${view.missing && html`<p class="wb-help">${view.missing}</p>`}
  ${!view.missing &&
  !view.asked &&
  html`<div class="wb-line">
    <button type="button" class="t-answers-beside" disabled=${view.busy} onClick=${() => send("answers_beside")}>Compare their answers</button>
    <span class="wb-help">Class by class and image by image, on the validation images.</span>
  </div>`}
  ${view.classes.length > 0 &&
  html`<details class="t-beside-open-classes" open>
    <summary>Classes that differ (${view.classes.length})</summary>
    <${Grid} label="Classes that differ" head="Class" name="classes" view=${view} rows=${view.classes} />
  </details>`}
  ${view.images.map(
    (one) => html`<details key=${one.name} class="t-beside-images">
      <summary>What ${one.name} answers otherwise</summary>
      ${one.sentences.map((s) => html`<p>${s}</p>`)}
      ${one.pictures && html`<${Pictures} found=${one.pictures} names=${[view.variants[0].name, one.name]} />`}
    </details>`,
  )}`;

/** @param {Props<"beside">} props */
export const BesidePanel = ({ view, send }) => {
  const id = useId("against");
  const clear = html`<button type="button" class="wb-link t-nothing-beside" onClick=${() => send("nothing_beside")}>Clear</button>`;
  return html`
    <${Section} title="Side by side" aside=${view.variants.length > 0 && clear}>
      ${view.empty && html`<p class="wb-empty">${view.empty}${view.variants.length === 1 && ` One is ticked: ${view.variants[0].name}.`}</p>`}
      ${!view.empty &&
      html`<div class="wb-line">
          <label for=${id}>Compared with</label>
          <select id=${id} class="t-against" value=${view.variants[0].id} onChange=${(/** @type {any} */ e) => send("against", { id: e.target.value })}>
            ${view.variants.map((v, n) => html`<option value=${v.id} selected=${n === 0}>${v.name}</option>`)}
          </select>
        </div>
        <${Grid} label="Figures side by side" head="Figure" name="figures" view=${view} rows=${view.figures} />
        <p class="wb-help">Beneath each figure its 95 % interval and its difference from the first, on the same inputs or timed in turns where that was kept.</p>
        ${view.layers.length > 0 &&
        html`<details class="t-beside-open-layers">
          <summary>Layers that differ in ${view.cost} (${view.layers.length})</summary>
          <${Grid} label="Layers side by side" head="Layer" name="layers" view=${view} rows=${view.layers} />
        </details>`}
        <${Answers} view=${view} send=${send} />`}
    <//>`;
};

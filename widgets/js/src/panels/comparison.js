import { about } from "../about.js";
import { html, useId } from "../ui.js";
import { Pictures } from "./pictures.js";

/** @typedef {string | { text: string, trend?: string, sub?: string }} Piece What a cell holds. */

/** @param {{ label: string, heads: string[], rows: Piece[][] }} props */
const Table = ({ label, heads, rows }) => html`
  <div class="wb-scroll" tabindex="0" role="region" aria-label="${label}, scrollable">
    <table class="wb-table">
      <thead>
        <tr>${heads.map((h, i) => html`<th scope="col" title=${about(h)} class=${i ? "wb-num" : ""}>${h}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map(
          (cells) => html`<tr>
            <th scope="row" title=${typeof cells[0] === "string" ? about(cells[0]) : undefined}>${cells[0]}</th>
            ${cells.slice(1).map((c) => (typeof c === "string" ? { text: c } : c)).map((c) => html`<td class="wb-num ${c.trend ?? ""}">${c.text}${c.sub && html`<small>${c.sub}</small>`}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;

/** @param {{ answers: View.Answers, names: string[] }} props */
const Classes = ({ answers, names }) => html`
  <div class="wb-comparison t-answers">
    ${answers.sentences.map((s) => html`<p>${s}</p>`)}
    ${answers.classes.length > 0 &&
    html`<${Table}
      label="Classes that differ"
      heads=${["Class", ...names, "Points", "New mistakes"]}
      rows=${answers.classes.map((c) => [c.name, c.one, c.two, { text: c.change, sub: c.sure }, c.taken || "–"])}
    />`}
    ${answers.pictures && html`<${Pictures} found=${answers.pictures} names=${names} />`}
  </div>`;

/** @param {{ found: View.ComparisonView, send: Send }} props */
const Comparison = ({ found, send }) => html`
  <div class="wb-comparison t-comparison">
    ${found.recipe.length > 0 &&
    html`<ul>${found.recipe.map((r) => html`<li>Only in <b>${r.only}</b>: <code>${r.step}</code></li>`)}</ul>`}
    <${Table}
      label="Figures that differ"
      heads=${["Figure", ...found.names, "Change"]}
      rows=${found.figures.map((r) => [r.label, r.one, r.two, { text: r.change, trend: r.trend }])}
    />
    ${found.same && html`<p class="wb-help">${found.same}</p>`}
    ${found.layers.length > 0 &&
    html`<details class="t-layers-differ">
      <summary>Layers that differ (${found.layers.length})</summary>
      <${Table} label="Layers that differ" heads=${["Layer", ...found.columns]} rows=${found.layers.map((r) => [r.layer, ...r.cells])} />
    </details>`}
    ${found.missing
      ? html`<p class="wb-help">${found.missing}</p>`
      : !found.answers &&
        html`<div class="wb-line">
          <button type="button" class="t-answers-run" disabled=${found.busy} onClick=${() => send("answers")}>Compare their answers</button>
          <span class="wb-help">Class by class and image by image, on the validation images.</span>
        </div>`}
    ${found.answers && html`<${Classes} answers=${found.answers} names=${found.names} />`}
  </div>`;

/** @param {{ view: View.VariantView, send: Send }} props */
export const Compare = ({ view, send }) => {
  const id = useId("compare");
  return html`<div class="wb-export">
    <div class="wb-line">
      <label for=${id}>Compare with</label>
      <select id=${id} class="t-compare" value=${view.compared} onChange=${(e) => send("compare", { id: e.target.value })}>
        <option value="">none</option>
        ${view.others.map((o) => html`<option value=${o.id} selected=${o.id === view.compared}>${o.name}</option>`)}
      </select>
    </div>
    ${view.comparison && html`<${Comparison} found=${view.comparison} send=${send} />`}
  </div>`;
};

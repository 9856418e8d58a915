import { html, Section, useEffect, useId, useState } from "../ui.js";
import { JobLine } from "./run.js";

// A number that is passed on when its field is left, or with Enter, which JupyterLab takes for itself before `change`.
/** @param {{ value: string, label: string, problem: string, id?: string, name: string, disabled: boolean, send: (text: string) => void }} props */
const NumberField = ({ value, label, problem, id, name, disabled, send }) => {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  /** @param {any} e */
  const passOn = (e) => e.target.value !== value && send(e.target.value);
  return html`<input
    type="text"
    id=${id}
    inputmode="decimal"
    class="wb-number t-${name}"
    aria-label=${id ? undefined : label}
    aria-invalid=${problem ? "true" : undefined}
    disabled=${disabled}
    value=${typed}
    onInput=${(/** @type {any} */ e) => setTyped(e.target.value)}
    onChange=${passOn}
    onKeyDown=${(/** @type {any} */ e) => e.key === "Enter" && passOn(e)}
  />`;
};

/** @param {{ limit: View.SearchLimit, index: number, busy: boolean, send: Send }} props */
const Limit = ({ limit, index, busy, send }) => {
  const label = limit.figures.find((f) => f.value === limit.figure)?.label ?? limit.figure;
  return html`<li class="wb-wish t-limit-row">
    <select
      aria-label="Figure of limit ${index + 1}"
      class="t-limit-figure"
      disabled=${busy}
      value=${limit.figure}
      onChange=${(/** @type {any} */ e) => send("bind", { index, figure: e.target.value, text: "" })}
    >
      ${limit.figures.map((f) => html`<option value=${f.value} selected=${f.value === limit.figure}>${f.label}</option>`)}
    </select>
    <span class="wb-muted">${limit.words}</span>
    <${NumberField}
      value=${limit.text}
      label="${label}, ${limit.words}, in ${limit.unit}"
      problem=${limit.problem}
      name="limit-text"
      disabled=${busy}
      send=${(/** @type {string} */ text) => send("bind", { index, figure: limit.figure, text })}
    />
    <span class="wb-muted wb-unit">${limit.unit}</span>
    <button type="button" class="wb-link t-unbind" disabled=${busy} aria-label="Remove the limit on ${label}" onClick=${() => send("unbind", { index })}>Remove</button>
    ${limit.problem && html`<p class="wb-problem">${limit.problem}</p>`}
  </li>`;
};

/** @param {{ view: View.SearchView, busy: boolean, send: Send }} props */
const Wishes = ({ view, busy, send }) => {
  const [goal, time] = [useId("goal"), useId("time")];
  return html`
    <div class="wb-line wb-wishes">
      <span class="wb-wish">
        <label for=${goal}>Make smallest</label>
        <select id=${goal} class="t-goal" disabled=${busy} value=${view.minimise} onChange=${(/** @type {any} */ e) => send("want", { minimise: e.target.value })}>
          ${view.goals.map((o) => html`<option value=${o.value} selected=${o.value === view.minimise}>${o.label}</option>`)}
        </select>
      </span>
      <span class="wb-wish">
        <label for=${time}>within</label>
        <${NumberField} id=${time} value=${view.minutes} label="Minutes" problem=${view.minutes_problem} name="minutes" disabled=${busy} send=${(/** @type {string} */ minutes) => send("want_time", { minutes })} />
        <span class="wb-muted">minutes${view.minutes_hint && `, ${view.minutes_hint}`}</span>
      </span>
      <label class="wb-check" title=${view.train_hint}>
        <input type="checkbox" class="t-train" disabled=${busy} checked=${view.train} onChange=${(/** @type {any} */ e) => send("want_training", { on: e.target.checked })} />
        with training
      </label>
    </div>
    ${view.minutes_problem && html`<p class="wb-problem">${view.minutes_problem}</p>`}`;
};

/** @param {{ view: View.SearchView, busy: boolean, send: Send }} props */
const Limits = ({ view, busy, send }) => html`
  <ul class="wb-bounds" aria-label="Limits of the search">
    ${view.limits.map((limit, index) => html`<${Limit} key=${`${index} ${limit.figure}`} limit=${limit} index=${index} busy=${busy} send=${send} />`)}
  </ul>
  <button type="button" class="wb-small t-bind-more" disabled=${busy || !view.more} onClick=${() => send("bind_more")}>Add a limit</button>`;

/** @param {{ label: string, heads: string[], rows: any[][], name: string }} props */
const Grid = ({ label, heads, rows, name }) => html`
  <div class="wb-scroll" tabindex="0" role="region" aria-label="${label}, scrollable">
    <table class="wb-table t-${name}">
      <thead><tr>${heads.map((h) => html`<th scope="col">${h}</th>`)}</tr></thead>
      <tbody>
        ${rows.map((cells) => html`<tr><th scope="row">${cells[0]}</th>${cells.slice(1).map((c) => html`<td>${c}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;

/** @param {{ view: View.SearchView, send: Send }} props */
const Front = ({ view, send }) => html`
  <details class="t-front">
    <summary>The predicted front (${view.front.length})</summary>
    <${Grid}
      label="The predicted front"
      name="promises"
      heads=${["Recipe", ...view.heads, "From the optimum", "To the editor"]}
      rows=${view.front.map((p) => [
        p.name,
        p.value,
        p.loss,
        html`at most ${p.gap}`,
        html`<button type="button" class="wb-small" aria-label="Edit ${p.name}, ${p.value}" onClick=${() => send("take_promise", { name: p.id })}>${p.measured ? "Edit, measured" : "Edit"}</button>`,
      ])}
    />
    <p class="wb-help">Predicted, not measured; corrected by each variant that is. How far a choice is at most from the best that the model of costs knows.</p>
  </details>`;

/** @param {{ found: View.SearchFound, send: Send }} props */
const Found = ({ found, send }) => html`
  <div class="wb-found t-found">
    ${found.id &&
    html`<div class="wb-line"><p class="wb-verdict"><b>Best: ${found.name}</b></p>
        <button type="button" class="wb-small t-take-found" onClick=${() => send("take_found")}>Use this recipe</button></div>
      <p>${found.verdict}</p>`}
    ${found.proofs.map((one) => html`<p class="${one.passes ? "wb-good" : "wb-muted"} t-certificate">${one.text}</p>`)}
    ${found.notes.length > 0 && html`<ul class="wb-notes t-search-notes">${found.notes.map((n) => html`<li>${n}</li>`)}</ul>`}
    <p class="wb-help">${found.tried}</p>
    ${found.why.length > 0 &&
    html`<details class="t-why">
      <summary>Why these choices, layer by layer (${found.why.length})</summary>
      <${Grid}
        label="Why these choices"
        name="reasons"
        heads=${["Layer", "Channels kept", "Chosen", "Second", "What that would cost"]}
        rows=${found.why.map((r) => [r.layer, r.kept, r.chosen, r.second, r.cost])}
      />
      <p class="wb-help">${found.why_note}</p>
    </details>`}
  </div>`;

/** @param {Props<"search">} props */
export const SearchPanel = ({ view, send }) => {
  const busy = view.job !== null || !view.ready;
  const wrong = view.minutes_problem || view.limits.some((l) => l.problem);
  return html`
    <${Section} title="Find the best under ..." aside=${html`<p class="wb-help">Chosen on the validation images; the test images only report.</p>`}>
      <${Wishes} view=${view} busy=${busy} send=${send} />
      <div class="wb-line wb-limits">
        <${Limits} view=${view} busy=${busy} send=${send} />
        <button type="button" class="wb-primary wb-find t-search" disabled=${busy || Boolean(wrong)} onClick=${() => send("search")}>${view.label}</button>
      </div>
      ${view.train && html`<p class="wb-help">${view.train_hint}</p>`}
      ${view.problem && html`<p class="wb-problem t-search-problem" role="alert">${view.problem}</p>`}
      ${view.job && html`<ul class="wb-jobs"><${JobLine} job=${view.job} stop="Stop, keep everything" send=${send} /></ul>`}
      ${view.said && html`<p class="t-search-said" role="status">${view.said}</p>`}
      ${view.found && html`<${Found} found=${view.found} send=${send} />`}
      ${view.front.length > 0 && html`<${Front} view=${view} send=${send} />`}
    <//>`;
};

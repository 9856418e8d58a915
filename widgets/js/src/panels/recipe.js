import { html, Section, useEffect, useId, useRef, useState } from "../ui.js";
import { Control } from "./controls.js";

// The step that was touched last is the one being edited: a choice of layers is for it.
/** @typedef {import("./controls.js").Pass} Pass */

/** @param {{ step: View.StepCard, last: boolean, edited: boolean, send: Send }} props */
const StepCard = ({ step, last, edited, send }) => html`
  <li
    class="wb-step t-step ${edited ? "wb-edited" : ""} ${step.on ? "" : "wb-step-off"}"
    onFocusIn=${() => edited || send("focus", { index: step.index })}
    onClick=${() => edited || send("focus", { index: step.index })}
  >
    <div class="wb-step-head">
      <span class="wb-step-number" aria-hidden="true">${step.index + 1}</span>
      <h3 title=${step.summary}>${step.title}</h3>
      <label class="wb-switch">
        <input
          type="checkbox"
          role="switch"
          class="t-switch"
          checked=${step.on}
          aria-label="${step.title}, in use"
          onChange=${(e) => send("switch", { index: step.index, on: e.target.checked })}
        />
        ${step.on ? "On" : "Off"}
      </label>
      <span class="wb-step-buttons">
        ${step.index > 0 &&
        html`<button type="button" class="wb-link" onClick=${() => send("move", { index: step.index, by: -1 })}>Up</button>`}
        ${!last &&
        html`<button type="button" class="wb-link" onClick=${() => send("move", { index: step.index, by: 1 })}>Down</button>`}
        <button type="button" class="wb-link" onClick=${() => send("remove", { index: step.index })}>Remove</button>
      </span>
    </div>
    ${step.reach && html`<p class="wb-help t-reach">${step.reach}</p>`}
    ${step.main.map(
      (c) => html`<${Control} key=${c.name} control=${c} send=${/** @type {Pass} */ ((value, final) => send("set", { index: step.index, name: c.name, value, final }))} />`,
    )}
    ${step.more.length > 0 &&
    html`<details>
      <summary>More settings</summary>
      ${step.more.map(
        (c) => html`<${Control} key=${c.name} control=${c} send=${/** @type {Pass} */ ((value, final) => send("set", { index: step.index, name: c.name, value, final }))} />`,
      )}
    </details>`}
  </li>`;

/** @param {{ view: View.RecipeView, send: Send }} props */
const Add = ({ view, send }) => {
  const all = view.menu.flatMap((group) => group.steps);
  const [name, setName] = useState("");
  const id = useId("add");
  const chosen = all.find((s) => s.name === name) ?? all[0];
  return html`
    <div class="wb-add">
      <label for=${id}>Add a step</label>
      <div class="wb-line">
        <select id=${id} class="t-add-step" value=${chosen?.name} onChange=${(e) => setName(e.target.value)}>
          ${view.menu.map(
            (group) => html`<optgroup label=${group.family}>
              ${group.steps.map((s) => html`<option value=${s.name} selected=${s.name === chosen?.name}>${s.title}</option>`)}
            </optgroup>`,
          )}
        </select>
        <button type="button" class="t-add" disabled=${!chosen} onClick=${() => send("add", { name: chosen.name })}>Add</button>
      </div>
      <p class="wb-help">${chosen?.summary}</p>
    </div>`;
};

/** @param {{ view: View.RecipeView, send: Send }} props */
const Ready = ({ view, send }) => {
  const [name, setName] = useState("");
  const id = useId("ready");
  const chosen = view.ready.find((r) => r.name === name) ?? view.ready[0];
  return html`
    <div class="wb-add">
      <label for=${id}>Or begin with a ready recipe</label>
      <div class="wb-line">
        <select id=${id} class="t-ready" value=${chosen.name} onChange=${(e) => setName(e.target.value)}>
          ${view.ready.map((r) => html`<option value=${r.name} selected=${r === chosen}>${r.title}</option>`)}
        </select>
        <button type="button" class="t-take" onClick=${() => send("ready", { name: chosen.name })}>Use</button>
      </div>
      <p class="wb-help">${chosen.summary}${view.steps.length > 0 && " It replaces the steps above; Undo brings them back."}</p>
    </div>`;
};

/** @param {string} text @param {Element | null} element */
async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages without a secure context have no clipboard interface: the older command copies a selection.
    const area = document.createElement("textarea");
    area.value = text;
    element?.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

const FORMS = { code: "Python", yaml: "YAML" };

/** @param {{ view: View.RecipeView }} props */
const Code = ({ view }) => {
  const [form, setForm] = useState(/** @type {keyof typeof FORMS} */ ("code"));
  const [copied, setCopied] = useState(false);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const text = view[form];
  useEffect(() => setCopied(false), [text]);
  return html`
    <details class="wb-code" ref=${box}>
      <summary>The same as code</summary>
      <div class="wb-line">
        <span class="wb-tabs" role="group" aria-label="Form of the recipe">
          ${/** @type {[keyof typeof FORMS, string][]} */ (Object.entries(FORMS)).map(
            ([key, label]) =>
              html`<button type="button" class="t-form-${key}" aria-pressed=${key === form ? "true" : "false"} onClick=${() => setForm(key)}>${label}</button>`,
          )}
        </span>
        <button type="button" class="wb-small t-copy" onClick=${() => copy(text, box.current).then(() => setCopied(true))}>
          ${copied ? "Copied" : `Copy as ${form === "code" ? "code" : "YAML"}`}
        </button>
      </div>
      <pre class="t-code" tabindex="0" role="region" aria-label="The recipe as ${FORMS[form]}"><code>${text}</code></pre>
    </details>`;
};

/** @param {Props<"recipe">} props */
export const RecipePanel = ({ view, send }) => {
  const history = html`<span class="wb-step-buttons">
    <button type="button" class="wb-link t-undo" disabled=${!view.can_undo} onClick=${() => send("undo")}>Undo</button>
    <button type="button" class="wb-link t-redo" disabled=${!view.can_redo} onClick=${() => send("redo")}>Redo</button>
  </span>`;
  return html`
    <${Section} title="Recipe" aside=${history}>
      ${view.steps.length === 0 && html`<p class="wb-empty">${view.hint}</p>`}
      <ol class="wb-steps">
        ${view.steps.map((s) => html`<${StepCard} key=${s.key} step=${s} last=${s.index === view.steps.length - 1} edited=${view.steps.length > 1 && s.index === view.focus} send=${send} />`)}
      </ol>
      ${view.menu.length > 0 && html`<${Add} view=${view} send=${send} />`}
      ${view.ready.length > 0 && html`<${Ready} view=${view} send=${send} />`}
      ${view.steps.length > 0 && html`<${Code} view=${view} />`}
    <//>`;
};

import { about } from "../about.js";
import { html, Section, useEffect, useId, useRef, useState } from "../ui.js";
import { unfolded } from "../folds.js";
import { Control } from "./controls.js";

// The step that was touched last is the one being edited: a choice of layers is for it.
/** @typedef {import("./controls.js").Pass} Pass */

/** @param {{ step: View.StepCard, send: Send }} props */
const Switch = ({ step, send }) => html`
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
  </label>`;

// The first setting, beside the name of a step that is folded.
/** @param {{ step: View.StepCard }} props */
const Brief = ({ step }) => {
  const said = step.main.filter((c) => c.widget !== "flag" && c.name !== "layers").map((c) => `${c.text} ${c.unit}`);
  return html`<span class="wb-brief">${said.join(", ")}</span>${step.idle && html`<span class="wb-brief wb-worse">changes nothing</span>`}`;
};

/** @param {{ step: View.StepCard, last: boolean, send: Send }} props */
const Settings = ({ step, last, send }) => {
  /** @param {View.Control} c */
  const control = (c) =>
    html`<${Control} key=${c.name} control=${c} send=${/** @type {Pass} */ ((value, final) => send("set", { index: step.index, name: c.name, value, final }))} />`;
  return html`
    ${step.main.map(control)}
    <div class="wb-step-foot">
      ${step.more.length > 0 && html`<details><summary>More settings</summary>${step.more.map(control)}</details>`}
      ${step.reach && html`<p class="wb-help t-reach">${step.reach}</p>`}
      <span class="wb-step-buttons">
        ${step.index > 0 &&
        html`<button type="button" class="wb-link" onClick=${() => send("move", { index: step.index, by: -1 })}>Up</button>`}
        ${!last &&
        html`<button type="button" class="wb-link" onClick=${() => send("move", { index: step.index, by: 1 })}>Down</button>`}
      </span>
    </div>`;
};

/** @param {{ step: View.StepCard, last: boolean, edited: boolean, open: boolean, fold: () => void, send: Send }} props */
const StepCard = ({ step, last, edited, open, fold, send }) => {
  const id = useId("step");
  const card = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const within = card.current?.closest(".wb-card"); // it scrolls where the column is beside the results
    if (open && within && within.scrollHeight > within.clientHeight) card.current?.scrollIntoView({ block: "nearest" });
  }, [open, step.reach === ""]);
  return html`
    <li
      ref=${card}
      class="wb-step t-step ${edited ? "wb-edited" : ""} ${step.on ? "" : "wb-step-off"}"
      onFocusIn=${() => edited || send("focus", { index: step.index })}
      onClick=${() => edited || send("focus", { index: step.index })}
    >
      <div class="wb-step-head">
        <h3 title=${step.summary}>
          <button type="button" class="wb-fold t-fold" aria-expanded=${open ? "true" : "false"} aria-controls=${id} onClick=${fold}>
            <span class="wb-step-number" aria-hidden="true">${step.index + 1}</span>
            <span><b>${step.title}</b> ${!open && html`<${Brief} step=${step} />`}</span>
          </button>
        </h3>
        <${Switch} step=${step} send=${send} />
        <button type="button" class="wb-link t-remove" aria-label="Remove ${step.title}" onClick=${() => send("remove", { index: step.index })}>Remove</button>
      </div>
      <div id=${id} class="wb-step-body" hidden=${!open}>${open && html`<${Settings} step=${step} last=${last} send=${send} />`}</div>
    </li>`;
};

/** @param {{ view: View.RecipeView, send: Send }} props */
const Steps = ({ view, send }) => {
  const keys = view.steps.map((step) => step.key);
  const [folds, setFolds] = useState({ keys: /** @type {string[]} */ ([]), open: /** @type {string[]} */ ([]) });
  // Derived where it is drawn, so that no step is seen open for a moment that is not.
  const open = keys.join() === folds.keys.join() ? folds.open : unfolded(folds.open, folds.keys, keys, view.focus);
  if (open !== folds.open) setFolds({ keys, open });
  /** @param {string} key */
  const fold = (key) => setFolds({ keys, open: open.includes(key) ? open.filter((one) => one !== key) : [...open, key] });
  return html`
    <ol class="wb-steps">
      ${view.steps.map(
        (s) => html`<${StepCard}
          key=${s.key}
          step=${s}
          last=${s.index === view.steps.length - 1}
          edited=${view.steps.length > 1 && s.index === view.focus}
          open=${open.includes(s.key)}
          fold=${() => fold(s.key)}
          send=${send}
        />`,
      )}
    </ol>`;
};

/** @param {{ view: View.RecipeView, send: Send }} props */
const Add = ({ view, send }) => {
  const all = view.menu.flatMap((group) => group.steps);
  const [name, setName] = useState("");
  const id = useId("add");
  const chosen = all.find((s) => s.name === name) ?? all[0];
  return html`
    <div class="wb-add wb-add-step">
      <label for=${id}>Add a step</label>
      <div class="wb-line">
        <select id=${id} class="t-add-step" value=${chosen?.name} onChange=${(e) => setName(e.target.value)}>
          ${view.menu.map(
            (group) => html`<optgroup label=${group.family} title=${about(group.family)}>
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
  const chosen = view.ready.find((r) => r.name === name) ?? view.ready[0];
  const empty = view.steps.length === 0;
  return html`
    <details class="wb-ready" open=${empty}>
      <summary>${empty ? "Or begin with a ready recipe" : "A ready recipe"}</summary>
      <div class="wb-line">
        <select class="t-ready" aria-label="Ready recipe" value=${chosen.name} onChange=${(e) => setName(e.target.value)}>
          ${view.ready.map((r) => html`<option value=${r.name} selected=${r === chosen}>${r.title}</option>`)}
        </select>
        <button type="button" class="t-take" onClick=${() => send("ready", { name: chosen.name })}>Use</button>
      </div>
      <p class="wb-help">${chosen.summary}${!empty && " It replaces the steps above; Undo brings them back."}</p>
    </details>`;
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
      <${Steps} view=${view} send=${send} />
      ${view.menu.length > 0 && html`<${Add} view=${view} send=${send} />`}
      <div class="wb-folds">
        ${view.ready.length > 0 && html`<${Ready} view=${view} send=${send} />`}
        ${view.steps.length > 0 && html`<${Code} view=${view} />`}
      </div>
    <//>`;
};

// One control a kind of setting, as controls.py describes them; none knows a technique.
import { track } from "../track.js";
import { html, throttle, useId, useMemo, useRef, useState } from "../ui.js";

/** @typedef {string | number | boolean} Value */
/** @typedef {(value: Value, final: boolean) => void} Pass Passes a setting on; it is final when the user lets go. */
/** @typedef {{ control: View.Control, id: string, send: Pass }} Own */

// What is being typed or dragged stands until a second after it was passed on: by then the page's own value
// has caught up with it, and echoes of a drag under way cannot pull the slider back.
/**
 * @param {View.Control} control
 * @param {Pass} send
 * @returns {[string, (value: Value) => void, (value: Value) => void, (value: Value) => void]}
 */
function useDraft(control, send) {
  const [draft, setDraft] = useState(/** @type {string | null} */ (null));
  const timer = useRef(0);
  const pass = useMemo(() => throttle(send, 30), []);
  /** @param {Value} value */
  const keep = (value) => {
    clearTimeout(timer.current);
    setDraft(String(value));
  };
  /** @type {Pass} */
  const passOn = (value, final) => {
    keep(value);
    timer.current = window.setTimeout(() => setDraft(null), 1000);
    pass(value, final);
  };
  return [draft ?? control.text, (value) => passOn(value, false), (value) => passOn(value, true), keep];
}

/** @param {(value: Value) => void} commit */
const onEnter = (commit) => (/** @type {any} */ event) => event.key === "Enter" && commit(event.target.value);

/** @param {View.Control} control @param {string} id */
const described = (control, id) => ({
  id,
  "aria-describedby": `${id}-help`,
  "aria-invalid": control.problem ? "true" : undefined,
});

/** @param {Own} props */
const Slider = ({ control, id, send }) => {
  const [shown, edit, commit, keep] = useDraft(control, send);
  const { ends, place, value } = track(control);
  const at = place(shown.trim());
  return html`
    <div class="wb-slide">
      <input
        type="range"
        ...${described(control, id)}
        ...${ends}
        value=${at ?? ends.min}
        class=${at === null ? "wb-off" : ""}
        aria-valuetext=${at === null ? `${shown}, not on this slider` : shown}
        onInput=${(e) => edit(value(Number(e.target.value)))}
        onChange=${(e) => commit(value(Number(e.target.value)))}
      />
      <input
        type="text"
        class="wb-number"
        aria-label="${control.label}, typed"
        aria-invalid=${control.problem ? "true" : undefined}
        inputmode=${control.free ? "text" : "decimal"}
        value=${shown}
        onInput=${(e) => keep(e.target.value)}
        onChange=${(e) => commit(e.target.value)}
        onKeyDown=${onEnter(commit)}
      />
      ${control.unit && html`<span class="wb-muted">${control.unit}</span>`}
    </div>`;
};

/** @param {Own} props */
const Text = ({ control, id, send }) => {
  const [shown, , commit, keep] = useDraft(control, send);
  return html`
    <input
      type="text"
      ...${described(control, id)}
      list=${control.suggestions.length ? `${id}-list` : undefined}
      value=${shown}
      onInput=${(e) => keep(e.target.value)}
      onChange=${(e) => commit(e.target.value)}
      onKeyDown=${onEnter(commit)}
    />
    ${control.suggestions.length > 0 &&
    html`<datalist id="${id}-list">${control.suggestions.map((s) => html`<option value=${s} />`)}</datalist>`}`;
};

/** @param {Own} props */
const Choice = ({ control, id, send }) => html`
  <select ...${described(control, id)} value=${control.text} onChange=${(e) => send(e.target.value, true)}>
    ${control.choices.map((c) => html`<option value=${c} selected=${c === control.text}>${c}</option>`)}
  </select>`;

/** @param {Own} props */
const Flag = ({ control, id, send }) => html`
  <input
    type="checkbox"
    ...${described(control, id)}
    checked=${control.value}
    onChange=${(e) => send(e.target.checked, true)}
  />`;

const WIDGETS = { slider: Slider, text: Text, choice: Choice, flag: Flag };

/** @param {{ control: View.Control, send: Pass }} props */
export const Control = ({ control, send }) => {
  const id = useId("control");
  return html`
    <div class="wb-control wb-control-${control.widget} t-set-${control.name}">
      <label for=${id}>${control.label}</label>
      <${WIDGETS[control.widget]} control=${control} id=${id} send=${send} />
      <p class=${control.problem ? "wb-problem" : "wb-help"} id="${id}-help">${control.problem || control.help}</p>
    </div>`;
};

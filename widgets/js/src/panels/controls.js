// One control a kind of setting, as widgets/controls.py describes them; none knows a technique.
import { html, throttle, useId, useMemo, useRef, useState } from "../ui.js";

// What is being typed or dragged stands until a second after it was passed on: by then the page's own value
// has caught up with it, and echoes of a drag under way cannot pull the slider back.
function useDraft(control, send) {
  const [draft, setDraft] = useState(null);
  const timer = useRef(null);
  const pass = useMemo(() => throttle(send, 30), []);
  const keep = (value) => {
    clearTimeout(timer.current);
    setDraft(String(value));
  };
  const passOn = (value, final) => {
    keep(value);
    timer.current = setTimeout(() => setDraft(null), 1000);
    pass(value, final);
  };
  return [draft ?? control.text, (value) => passOn(value, false), (value) => passOn(value, true), keep];
}

const onEnter = (commit) => (event) => event.key === "Enter" && commit(event.target.value);

const described = (control, id) => ({
  id,
  "aria-describedby": `${id}-help`,
  "aria-invalid": control.problem ? "true" : undefined,
});

// Where a value lies on a slider, and what it means there. The slider moves along `stops` where there are such, as for
// learning rates, and evenly between its ends otherwise; of a rule such as `macs:0.5` it moves the number.
function track({ low, high, step, stops, prefix }) {
  const [from, to] = stops.length ? [stops[0], stops.at(-1)] : [low, high];
  const nearest = (value) => stops.reduce((best, one, n) => (Math.abs(one - value) < Math.abs(stops[best] - value) ? n : best), 0);
  return {
    ends: stops.length ? { min: 0, max: stops.length - 1, step: 1 } : { min: low, max: high, step },
    // null: this value is not on the slider
    place: (text) => {
      const value = text.startsWith(prefix) && text !== prefix ? Number(text.slice(prefix.length)) : NaN;
      return value >= from && value <= to ? (stops.length ? nearest(value) : value) : null;
    },
    value: (place) => (stops.length ? stops[place] : prefix ? prefix + place : place),
  };
}

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

const Choice = ({ control, id, send }) => html`
  <select ...${described(control, id)} value=${control.text} onChange=${(e) => send(e.target.value, true)}>
    ${control.choices.map((c) => html`<option value=${c} selected=${c === control.text}>${c}</option>`)}
  </select>`;

const Flag = ({ control, id, send }) => html`
  <input
    type="checkbox"
    ...${described(control, id)}
    checked=${control.value}
    onChange=${(e) => send(e.target.checked, true)}
  />`;

const WIDGETS = { slider: Slider, text: Text, choice: Choice, flag: Flag };

export const Control = ({ control, send }) => {
  const id = useId("control");
  return html`
    <div class="wb-control wb-control-${control.widget} t-set-${control.name}">
      <label for=${id}>${control.label}</label>
      <${WIDGETS[control.widget]} control=${control} id=${id} send=${send} />
      <p class=${control.problem ? "wb-problem" : "wb-help"} id="${id}-help">${control.problem || control.help}</p>
    </div>`;
};

import { html, Section, useEffect, useRef, useState } from "../ui.js";
import { Plot } from "../vega.js";

const Select = ({ label, name, value, options, onChange, children }) => html`
  <div class="wb-axis">
    <label>
      <span>${label}</span>
      <select class="t-axis-${name}" value=${value} onChange=${(e) => onChange(e.target.value)}>
        ${options.map((o) => html`<option value=${o.value} selected=${o.value === value}>${o.label}</option>`)}
      </select>
    </label>
    ${children}
  </div>`;

const Axis = ({ label, name, view, send }) => html`
  <${Select} label=${label} name=${name} value=${view.axes[name]} options=${view.options} onChange=${(column) => send("axis", { axis: name, column })}>
    <label class="wb-check">
      <input
        type="checkbox"
        class="t-log-${name}"
        aria-label="${label}: logarithmic scale"
        checked=${view.log.includes(name)}
        onChange=${(e) => send("log", { axis: name, on: e.target.checked })}
      />
      log
    </label>
  <//>`;

// Sent a moment after the last key: a half-typed limit is no mistake yet.
const Limit = ({ limit, send }) => {
  const timer = useRef(null);
  const [typed, setTyped] = useState(null);
  const commit = (text, after) => {
    clearTimeout(timer.current);
    setTyped(text);
    timer.current = setTimeout(() => {
      send("limit", { text });
      setTyped(null);
    }, after);
  };
  return html`
    <div class="wb-limit">
      <label for="wb-limit">Limits</label>
      <input
        id="wb-limit"
        type="text"
        class="t-limit"
        placeholder="accuracy >= 0.92 and latency_ms < 1"
        aria-describedby="wb-limit-said"
        aria-invalid=${limit.problem ? "true" : undefined}
        value=${typed ?? limit.text}
        onInput=${(e) => commit(e.target.value, 700)}
        onChange=${(e) => commit(e.target.value, 0)}
      />
      <p id="wb-limit-said" class=${limit.problem ? "wb-problem" : "wb-help"} role="status">
        ${limit.problem || limit.said || "Variants outside the limits turn grey; none is hidden."}
      </p>
    </div>`;
};

const Elsewhere = ({ elsewhere, send }) => html`
  <div class="wb-elsewhere">
    <p>${elsewhere.text}</p>
    <button type="button" class="wb-small t-remeasure" disabled=${elsewhere.busy} onClick=${() => send("remeasure")}>${elsewhere.button}</button>
  </div>`;

const Tabs = ({ view, send }) => html`
  <span class="wb-tabs" role="group" aria-label="Chart">
    ${view.tabs.map(
      (tab) => html`<button
        type="button"
        class="t-tab-${tab.value}"
        aria-pressed=${tab.value === view.tab ? "true" : "false"}
        onClick=${() => send("tab", { tab: tab.value })}
      >
        ${tab.label}
      </button>`,
    )}
  </span>`;

export const ChartPanel = ({ view, send }) => {
  const box = useRef(null);
  const plot = useRef(null);
  useEffect(() => {
    plot.current = new Plot(box.current, (id) => send("select", { id }));
    return () => plot.current.finalize();
  }, []);
  useEffect(() => plot.current.show({ ...view, selected: view.chosen_id }), [view]);
  return html`
    <${Section} title="Variants" aside=${html`<${Tabs} view=${view} send=${send} />`}>
      ${view.elsewhere && html`<${Elsewhere} elsewhere=${view.elsewhere} send=${send} />`}
      ${view.axes &&
      html`<div class="wb-line wb-axes">
        <${Axis} label="Up" name="y" view=${view} send=${send} />
        <${Axis} label="Across" name="x" view=${view} send=${send} />
        <${Select} label="Area" name="size" value=${view.axes.size} options=${view.options} onChange=${(column) => send("size", { column })} />
      </div>`}
      <div class="wb-plot">
        <div class="wb-vega t-chart" ref=${box}></div>
        ${view.empty && html`<p class="wb-empty wb-plot-empty">${view.empty}</p>`}
      </div>
      <p class="wb-help">${view.caption}</p>
      <${Limit} limit=${view.limit} send=${send} />
      <p class="wb-hidden">${view.summary}</p>
    <//>`;
};

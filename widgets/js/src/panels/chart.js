import { html, Section, useEffect, useRef } from "../ui.js";
import { Plot } from "../vega.js";

const Axis = ({ label, name, value, options, send }) => html`
  <label class="wb-axis">
    <span>${label}</span>
    <select class="t-axis-${name}" value=${value} onChange=${(e) => send("axis", { axis: name, column: e.target.value })}>
      ${options.map((o) => html`<option value=${o.value} selected=${o.value === value}>${o.label}</option>`)}
    </select>
  </label>`;

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
  useEffect(() => plot.current.show(view), [view]);
  return html`
    <${Section} title="Variants" aside=${html`<${Tabs} view=${view} send=${send} />`}>
      ${view.axes &&
      html`<div class="wb-line wb-axes">
        <${Axis} label="Up" name="y" value=${view.axes.y} options=${view.options} send=${send} />
        <${Axis} label="Across" name="x" value=${view.axes.x} options=${view.options} send=${send} />
      </div>`}
      <div class="wb-plot">
        <div class="wb-vega t-chart" ref=${box}></div>
        ${view.empty && html`<p class="wb-empty wb-plot-empty">${view.empty}</p>`}
      </div>
      <p class="wb-help">${view.caption}</p>
      <p class="wb-hidden">${view.summary}</p>
    <//>`;
};

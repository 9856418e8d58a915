import { about } from "../about.js";
import { html, Section, useEffect, useId, useMemo, useRef, useState } from "../ui.js";
import { Rules } from "../rules.js";
import { usePlot } from "../vega.js";

/** @param {{ label: string, name: string, value: string, options: View.Option[], onChange: (value: string) => void, children?: any }} props */
const Select = ({ label, name, value, options, onChange, children }) => html`
  <div class="wb-axis">
    <label>
      <span title=${about(options.find((o) => o.value === value)?.label ?? "")}>${label}</span>
      <select class="t-axis-${name}" value=${value} onChange=${(e) => onChange(e.target.value)}>
        ${options.map((o) => html`<option value=${o.value} title=${about(o.label)} selected=${o.value === value}>${o.label}</option>`)}
      </select>
    </label>
    ${children}
  </div>`;

/** @param {{ label: string, name: View.LimitRule["axis"], view: View.ChartView & { axes: View.ChartAxes }, send: Send }} props */
const Axis = ({ label, name, view, send }) => html`
  <${Select} label=${label} name=${name} value=${view.axes[name]} options=${view.options} onChange=${(/** @type {string} */ column) => send("axis", { axis: name, column })}>
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

// Sent a moment after the last key, since a half-typed limit is no mistake yet, or when the field is left; what was
// sent is not sent again then, which would undo what a rule has changed meanwhile.
/** @param {{ limit: View.LimitField, send: Send }} props */
const Limit = ({ limit, send }) => {
  const timer = useRef(/** @type {number | null} */ (null)); // null: nothing waits to be sent
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  const id = useId("limit");
  /** @param {string} text */
  const commit = (text) => {
    clearTimeout(timer.current ?? undefined);
    timer.current = null;
    send("limit", { text });
  };
  /** @param {string} text */
  const type = (text) => {
    clearTimeout(timer.current ?? undefined);
    setTyped(text);
    timer.current = window.setTimeout(() => commit(text), 700);
  };
  useEffect(() => void (timer.current === null && setTyped(null)), [limit.text]);
  return html`
    <div class="wb-limit">
      <label for=${id}>Limits</label>
      <input
        id=${id}
        type="text"
        class="t-limit"
        placeholder="latency < 2 ms and file size < 2 MB"
        aria-describedby="${id}-said"
        aria-invalid=${limit.problem ? "true" : undefined}
        value=${typed ?? limit.text}
        onInput=${(e) => type(e.target.value)}
        onChange=${(e) => timer.current !== null && commit(e.target.value)}
      />
      <p id="${id}-said" class="t-limit-said ${limit.problem ? "wb-problem" : "wb-help"}" role="status">
        ${limit.problem || limit.said || "Type limits, or drag a handle at the end of an axis. Variants outside turn grey; none is hidden."}
      </p>
    </div>`;
};

/** @param {{ elsewhere: View.Elsewhere, send: Send }} props */
const Elsewhere = ({ elsewhere, send }) => html`
  <div class="wb-elsewhere">
    <p>${elsewhere.text}</p>
    <button type="button" class="wb-small t-remeasure" disabled=${elsewhere.busy} onClick=${() => send("remeasure")}>${elsewhere.button}</button>
  </div>`;

/** @param {{ view: View.ChartView, send: Send }} props */
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

// Which figures have an axis of their own.
/** @param {{ view: View.ChartView & { shown: string[] }, send: Send }} props */
const Shown = ({ view, send }) => html`
  <fieldset class="wb-line wb-shown">
    <legend class="wb-hidden">Axes</legend>
    ${view.options.map(
      (o) => html`<label class="wb-check" title=${about(o.label)}>
        <input
          type="checkbox"
          class="t-axis-on-${o.value}"
          checked=${view.shown.includes(o.value)}
          onChange=${(e) => send("parallel", { column: o.value, on: e.target.checked })}
        />
        ${o.label}
      </label>`,
    )}
  </fieldset>`;

/** @param {{ view: View.ChartView & { axes: View.ChartAxes }, send: Send }} props */
const Axes = ({ view, send }) => html`
  <div class="wb-line wb-axes">
    <${Axis} label="Up" name="y" view=${view} send=${send} />
    <${Axis} label="Across" name="x" view=${view} send=${send} />
    <${Select} label="Area" name="size" value=${view.axes.size} options=${view.options} onChange=${(/** @type {string} */ column) => send("size", { column })} />
  </div>`;

/** @param {Props<"chart">} props */
export const ChartPanel = ({ view, send }) => {
  // An object anew each time the scales may have moved.
  const [drawn, setDrawn] = useState(/** @type {{ view: any, spec: string | null } | null} */ (null));
  const { box, plot } = usePlot({
    onPick: (id) => send("select", { id }),
    onDrawn: (vega, spec) => setDrawn(vega && { view: vega, spec }),
  });
  useEffect(() => plot.current?.show({ ...view, selected: view.chosen_id }), [view]);
  const spec = useMemo(() => JSON.stringify(view.spec), [view.spec]); // rules of one chart do not fit another's scales
  return html`
    <${Section} title="Variants" aside=${html`<${Tabs} view=${view} send=${send} />`}>
      ${view.elsewhere && html`<${Elsewhere} elsewhere=${view.elsewhere} send=${send} />`}
      ${view.axes && html`<${Axes} view=${view} send=${send} />`}
      ${view.shown && html`<${Shown} view=${view} send=${send} />`}
      <div class="wb-plot wb-plot-${view.tab}" tabindex=${view.tab === "lineage" ? 0 : undefined} role="region" aria-label="Chart of variants">
        <div class="wb-vega t-chart" ref=${box}></div>
        <${Rules} rules=${view.rules} drawn=${drawn?.spec === spec ? drawn : null} send=${send} />
        ${view.empty && html`<p class="wb-empty wb-plot-empty">${view.empty}</p>`}
      </div>
      <p class="wb-help">${view.caption}</p>
      <${Limit} limit=${view.limit} send=${send} />
      <p class="wb-hidden">${view.summary}</p>
    <//>`;
};

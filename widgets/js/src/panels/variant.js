import { about } from "../about.js";
import { download } from "../download.js";
import { percent } from "../formatting.js";
import { html, Section, useId, useRef, useState } from "../ui.js";
import { Compare } from "./comparison.js";
import { Take } from "./take.js";

/** @param {{ file: View.ExportedFile, model: WidgetModel }} props */
const File = ({ file, model }) => {
  const [state, setState] = useState("");
  const busy = useRef(false);
  const start = async () => {
    if (busy.current) return;
    busy.current = true;
    try {
      await download(model, file.name, file.bytes, (done) => setState(percent(done)));
      setState("saved");
    } catch (error) {
      setState(/** @type {Error} */ (error).message);
    }
    busy.current = false;
  };
  return html`<li>
    <button type="button" class="wb-small t-download" onClick=${start}>Download ${file.name}</button>
    <span class="wb-muted">${file.size} <span role="status">${state && `· ${state}`}</span></span>
  </li>`;
};

/** @param {Props<"variant">} props */
const Export = ({ view, send, model }) => {
  const [format, setFormat] = useState(view.formats[0]);
  const id = useId("format");
  const done = view.exported;
  return html`
    <div class="wb-export">
      ${view.missing && html`<p class="wb-help">${view.missing}</p>`}
      <div class="wb-line">
        ${view.formats.length > 0 && html`
        <label for=${id}>Export as</label>
        <select id=${id} value=${format} onChange=${(e) => setFormat(e.target.value)}>
          ${view.formats.map((f) => html`<option value=${f} selected=${f === format}>${f}</option>`)}
        </select>
        <button type="button" class="t-export" disabled=${view.exporting} onClick=${() => send("export", { format })}>
          ${view.exporting ? "Exporting and checking" : "Export"}
        </button>`}
        <button type="button" class="wb-link t-edit" onClick=${() => send("edit")}>Edit this recipe</button>
      </div>
      ${done &&
      html`<p class="wb-good t-verified">${done.sentence}</p>
        <ul class="wb-files">${done.files.map((f) => html`<${File} key=${done.key + f.name} file=${f} model=${model} />`)}</ul>
        <p class="wb-help">In the folder <code>${done.folder}</code></p>
        <${Take} files=${["report.html", "README.md"]} model=${model} label="For whoever decides:" />`}
    </div>`;
};

/** @param {{ figure: View.Figure }} props */
const Figure = ({ figure }) => html`
  <div>
    <dt title=${about(figure.label)}>${figure.label}</dt>
    <dd><b>${figure.text}</b><small>${figure.interval}</small><small class=${figure.trend}>${figure.change}</small></dd>
  </div>`;

/** @param {Props<"variant">} props */
export const VariantPanel = ({ view, send, model }) => html`
  <${Section} title=${view.name || "Chosen variant"} aside=${view.tag && html`<span class="wb-tag">${view.tag}</span>`}>
    ${!view.id && html`<p class="wb-empty">${view.empty}</p>`}
    ${view.id &&
    html`
      ${view.label && view.label.tags.length > 0 && html`<p class="wb-line t-tags">${view.label.tags.map((one) => html`<span class="wb-tag">${one}</span>`)}</p>`}
      ${view.label?.text && html`<p class="wb-annotation t-annotation">${view.label.text}</p>`}
      ${view.verdict && html`<p class="wb-verdict t-verdict">${view.verdict}</p>`}
      ${view.reason && html`<p class="wb-muted t-reason">${view.reason}</p>`}
      <dl class="wb-facts">${view.figures.map((f) => html`<${Figure} key=${f.label} figure=${f} />`)}</dl>
      ${view.notes.length > 0 && html`<ul class="wb-notes">${view.notes.map((n) => html`<li>${n}</li>`)}</ul>`}
      ${view.others.length > 0 && html`<${Compare} view=${view} send=${send} />`}
      <${Export} key=${view.id} view=${view} send=${send} model=${model} />
    `}
  <//>`;

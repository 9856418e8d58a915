import { ask } from "../channel.js";
import { percent } from "../formatting.js";
import { html, Section, useId, useRef, useState } from "../ui.js";
import { Compare } from "./comparison.js";

const PIECE = 393216; // bytes a message
const PACE = 450; // ms between messages: a notebook server lets about 1 MB a second pass

/** @param {number} ms */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Fetches a file from the kernel: no folder to open.
/** @param {WidgetModel} model @param {string} file @param {number} size @param {(share: number) => void} report */
async function download(model, file, size, report) {
  /** @type {DataView<ArrayBuffer>[]} */
  const pieces = [];
  for (let offset = 0; offset < size; offset += PIECE) {
    const begun = performance.now();
    const [content] = await ask(model, { action: "piece", file, offset, length: PIECE });
    pieces.push(content);
    report(Math.min(1, (offset + PIECE) / size));
    if (offset + PIECE < size) await wait(Math.max(0, PACE - (performance.now() - begun)));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(pieces));
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

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
        <p class="wb-help">In the folder <code>${done.folder}</code></p>`}
    </div>`;
};

// A field that passes on what was typed when it is left, or with Enter.
/** @param {{ label: string, value: string, placeholder: string, send: (value: string) => void, tall?: boolean, name: string }} props */
const Field = ({ label, value, placeholder, send, tall, name }) => {
  const id = useId("field");
  /** @param {any} e */
  const passOn = (e) => e.target.value !== value && send(e.target.value);
  /** @param {any} e */
  const onKeyDown = (e) => e.key === "Enter" && !tall && passOn(e); // which JupyterLab takes for itself before `change`
  const about = { id, value, placeholder, class: `t-label-${name}`, onChange: passOn, onKeyDown };
  return html`<label for=${id}>${label}</label>
    ${tall ? html`<textarea rows="2" ...${about}></textarea>` : html`<input type="text" ...${about} />`}`;
};

/** @param {{ name: string, send: Send }} props */
const Delete = ({ name, send }) => {
  const [sure, setSure] = useState(false);
  if (!sure) return html`<button type="button" class="wb-small t-delete" onClick=${() => setSure(true)}>Delete</button>`;
  return html`<span role="alert">${name} and its files go for good.</span>
    <button type="button" class="wb-small wb-danger t-delete-sure" onClick=${() => send("delete")}>Delete it</button>
    <button type="button" class="wb-small" onClick=${() => setSure(false)}>Keep it</button>`;
};

// What the user says of a variant.
/** @param {{ view: View.VariantView & { label: View.Label }, send: Send }} props */
const Label = ({ view, send }) => html`
  <details class="wb-label t-label">
    <summary>Name, tags and notes</summary>
    <div class="wb-label-fields">
      <${Field} name="name" label="Name" value=${view.label.name} placeholder=${view.label.usual} send=${(/** @type {string} */ name) => send("rename", { name })} />
      <${Field} name="tags" label="Tags" value=${view.label.tags.join(", ")} placeholder="such as: best, to try on the phone" send=${(/** @type {string} */ tags) => send("tag", { tags })} />
      <${Field} name="text" label="Note" value=${view.label.text} placeholder="What is worth remembering" tall=${true} send=${(/** @type {string} */ text) => send("annotate", { text })} />
    </div>
    ${view.label.deletable && html`<div class="wb-line"><${Delete} name=${view.name} send=${send} /></div>`}
  </details>`;

/** @param {{ figure: View.Figure }} props */
const Figure = ({ figure }) => html`
  <div>
    <dt>${figure.label}</dt>
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
      ${view.label && html`<${Label} key=${`label ${view.id}`} view=${view} send=${send} />`}
      ${view.others.length > 0 && html`<${Compare} view=${view} send=${send} />`}
      <${Export} key=${view.id} view=${view} send=${send} model=${model} />
    `}
  <//>`;

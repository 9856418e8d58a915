import { percent } from "../formatting.js";
import { html, Section, useId, useState } from "../ui.js";
import { upload } from "../uploading.js";

/** @param {View.Fact} props */
const Figure = ({ label, text }) => html`<span class="wb-figure"><b>${text}</b><span>${label}</span></span>`;

/** @param {{ card: View.ModelCard, view: View.ModelsView, send: Send }} props */
const Card = ({ card, view, send }) => html`
  <button
    type="button"
    class="wb-model t-model-${card.name}"
    aria-pressed=${card.name === view.selected ? "true" : "false"}
    onClick=${() => send("choose", { name: card.name })}
  >
    <span class="wb-model-name">
      ${card.name}
      ${card.name === view.selected && html`<span class="wb-tag">${view.busy ? "loading" : "chosen"}</span>`}
    </span>
    <span class="wb-figures">${card.figures.map((f) => html`<${Figure} ...${f} />`)}</span>
  </button>`;

/** @param {{ samples: View.Sample[] }} props */
const Samples = ({ samples }) => html`
  <ul class="wb-samples t-samples" aria-label="Sample images, one of each class">
    ${samples.map(
      (one) => html`<li key=${one.name}><img src=${one.picture} alt="" /><span>${one.name}</span></li>`,
    )}
  </ul>`;

/** @param {{ others: View.Sources, model: WidgetModel }} props */
const Upload = ({ others, model }) => {
  const id = useId("upload");
  const [state, setState] = useState({ text: "", bad: false });
  /** @param {any} event */
  const begin = async (event) => {
    const [file] = event.target.files;
    event.target.value = ""; // the same file can be sent again
    if (!file) return;
    if (file.size > others.limit) return setState({ text: `${file.name} ${others.too_large}`, bad: true });
    try {
      await upload(model, file, (share) => setState({ text: `${file.name}: ${percent(share)}`, bad: false }));
      setState({ text: `${file.name} has arrived.`, bad: false });
    } catch (error) {
      setState({ text: /** @type {Error} */ (error).message, bad: true });
    }
  };
  return html`<div class="wb-source">
    <label for=${id}>Upload a model or data</label>
    <input id=${id} type="file" class="t-upload" accept=${others.accept} aria-describedby="${id}-hint" onChange=${begin} />
    <p class="wb-help" id="${id}-hint">${others.hint}</p>
    <p class=${state.bad ? "wb-problem" : "wb-help"} role="status">${state.text}</p>
  </div>`;
};

/** @param {{ send: Send }} props */
const ByPath = ({ send }) => {
  const id = useId("path");
  const [path, setPath] = useState("");
  /** @param {Event} event */
  const open = (event) => {
    event.preventDefault();
    if (path.trim()) send("open", { path: path.trim() });
  };
  return html`<form class="wb-source" onSubmit=${open}>
    <label for=${id}>Or open a path of this computer</label>
    <div class="wb-line">
      <input id=${id} type="text" class="t-path" value=${path} placeholder="exports/small" onInput=${(e) => setPath(e.target.value)} />
      <button type="submit" class="t-open" disabled=${!path.trim()}>Open</button>
    </div>
    <p class="wb-help">A folder or .safetensors file that the workbench exported, or an .npz of images.</p>
  </form>`;
};

/** @param {{ zoo: View.Zoo, send: Send }} props */
const Zoo = ({ zoo, send }) => {
  const id = useId("zoo");
  const [name, setName] = useState("");
  const [trained, setTrained] = useState(false);
  /** @param {Event} event */
  const load = (event) => {
    event.preventDefault();
    send("zoo", { zoo: zoo.name, name: name.trim() || zoo.example, trained });
  };
  return html`<form class="wb-source t-zoo-${zoo.name}" onSubmit=${load}>
    <label for=${id}>${zoo.name}</label>
    <p class="wb-help">${zoo.hint} ${!zoo.installed && html`<code>${zoo.command}</code>`}</p>
    <div class="wb-line">
      <input id=${id} type="text" value=${name} placeholder=${zoo.example} disabled=${!zoo.installed} onInput=${(e) => setName(e.target.value)} />
      <button type="submit" disabled=${!zoo.installed}>Load</button>
    </div>
    ${zoo.installed &&
    html`<label class="wb-check"><input type="checkbox" checked=${trained} onChange=${(e) => setTrained(e.target.checked)} />
      Trained weights (fetched from the internet)</label>`}
  </form>`;
};

/** @param {{ others: View.Sources, send: Send, model: WidgetModel }} props */
const Others = ({ others, send, model }) => html`
  <details class="wb-others t-others">
    <summary>Another model, or other data</summary>
    <div class="wb-sources">
      <${Upload} others=${others} model=${model} />
      ${others.paths && html`<${ByPath} send=${send} />`}
      ${others.zoos.map((zoo) => html`<${Zoo} key=${zoo.name} zoo=${zoo} send=${send} />`)}
    </div>
  </details>`;

// Where the study is kept, and the way back to the data of before.
/** @param {{ view: View.ModelsView, send: Send }} props */
const Kept = ({ view, send }) => html`<p class="wb-help wb-kept" title=${view.kept}>
  <span class="t-kept">${view.kept}</span>${view.data?.back &&
  html` <button type="button" class="wb-link t-home-data" onClick=${() => send("home_data")}>${view.data.back}</button>`}
</p>`;

// Studies of before; they are looked for again when the list is opened.
/** @param {{ earlier: View.Earlier[], send: Send }} props */
const Studies = ({ earlier, send }) => html`
  <details class="wb-others t-earlier" onToggle=${(/** @type {any} */ e) => e.target.open && send("look")}>
    <summary>Earlier studies (${earlier.length})</summary>
    <ul class="wb-earlier">
      ${earlier.map(
        (one) => html`<li key=${one.folder}>
          <span><b>${one.name}</b> <span class="wb-muted">${one.about}</span>${one.problem && html`<small>${one.problem}</small>`}</span>
          ${one.shown
            ? html`<span class="wb-tag">shown</span>`
            : html`<button type="button" class="wb-small t-reopen" disabled=${Boolean(one.problem)} aria-label="Open ${one.name}, ${one.about}" onClick=${() => send("reopen", { folder: one.folder })}>Open</button>`}
        </li>`,
      )}
    </ul>
  </details>`;

// Opened on a line of their own, beneath the title.
/** @param {Props<"models">} props */
const Folds = ({ view, send, model }) => html`
  <div class="wb-folds">
    ${view.data &&
    html`<details class="wb-about wb-others t-about-fold">
      <summary>About ${view.selected} and its data</summary>
      <p class="wb-muted"><span class="t-about">${view.about}</span> <span class="t-data">${view.data.sentence}</span></p>
      ${view.data.samples.length > 0 && html`<${Samples} samples=${view.data.samples} />`}
    </details>`}
    ${view.earlier.length > 0 && html`<${Studies} earlier=${view.earlier} send=${send} />`}
    ${view.others && html`<${Others} others=${view.others} send=${send} model=${model} />`}
    ${view.kept && html`<${Kept} view=${view} send=${send} />`}
  </div>`;

/** @param {Props<"models">} props */
export const Models = ({ view, send, model }) => html`
  <${Section} title="Model and data" aside=${html`<${Folds} view=${view} send=${send} model=${model} />`}>
    ${view.waiting && html`<p class="wb-empty">${view.waiting}</p>`}
    <div class="wb-model-list" role="group" aria-label="Models">
      ${view.cards.map((card) => html`<${Card} key=${card.name} card=${card} view=${view} send=${send} />`)}
    </div>
    ${view.problems.map((one) => html`<p class="wb-problem">${one}</p>`)}
  <//>`;

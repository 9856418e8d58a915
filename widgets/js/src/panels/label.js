import { html, useId, useState } from "../ui.js";

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
/** @param {{ label: View.Label, name: string, send: Send }} props */
export const Label = ({ label, name, send }) => html`
  <details class="wb-label t-label">
    <summary>Name, tags and notes</summary>
    <div class="wb-label-fields">
      <${Field} name="name" label="Name" value=${label.name} placeholder=${label.usual} send=${(/** @type {string} */ text) => send("rename", { name: text })} />
      <${Field} name="tags" label="Tags" value=${label.tags.join(", ")} placeholder="such as: best, to try on the phone" send=${(/** @type {string} */ tags) => send("tag", { tags })} />
      <${Field} name="text" label="Note" value=${label.text} placeholder="What is worth remembering" tall=${true} send=${(/** @type {string} */ text) => send("annotate", { text })} />
    </div>
    <div class="wb-line">
      ${label.archivable &&
      html`<button type="button" class="wb-small t-archive" onClick=${() => send("archive", { on: !label.archived })}>${label.archived ? "Take out of the archive" : "Archive"}</button>`}
      ${label.deletable && html`<${Delete} name=${name} send=${send} />`}
    </div>
  </details>`;

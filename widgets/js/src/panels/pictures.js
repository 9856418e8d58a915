import { html, useState } from "../ui.js";

/** @param {{ picture: View.Picture }} props */
const Picture = ({ picture }) => html`
  <figure class="t-flip">
    <img src=${picture.url} alt=${picture.alt} width="84" height="84" />
    <figcaption aria-hidden="true">
      <b>${picture.label}</b>
      <span>${picture.before} → ${picture.after}</span>
      <small>${picture.sure}</small>
    </figcaption>
  </figure>`;

// Images whose answer changed; buttons choose between those that were lost, gained, or wrong both times.
/** @param {{ found: View.PicturesView, names: string[] }} props */
export const Pictures = ({ found, names }) => {
  const [kind, setKind] = useState(/** @type {string | null} */ (null));
  const shown = found.kinds.find((k) => k.value === kind) ?? found.kinds[0];
  return html`
    <div class="wb-flips t-flips">
      <div class="wb-card-head">
        <h3>Images that are answered otherwise</h3>
        <span class="wb-tabs" role="group" aria-label="Kind of change">
          ${found.kinds.map(
            (k) => html`<button type="button" class="t-kind-${k.value}" aria-pressed=${k === shown ? "true" : "false"} onClick=${() => setKind(k.value)}>${k.label}</button>`,
          )}
        </span>
      </div>
      <p class="wb-help">${shown.meaning[0].toUpperCase() + shown.meaning.slice(1)}. Beneath each: what it is, the answer of ${names[0]} → of ${names[1]}, and how sure they are. ${shown.note}</p>
      <div class="wb-pictures">${shown.pictures.map((p) => html`<${Picture} key=${p.alt} picture=${p} />`)}</div>
    </div>`;
};

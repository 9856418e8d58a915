import { html, Section } from "../ui.js";

const Figure = ({ label, text }) => html`<span class="wb-figure"><b>${text}</b><span>${label}</span></span>`;

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

export const Models = ({ view, send }) => html`
  <${Section} title="Model" aside=${html`<span class="wb-muted">${view.data}</span>`}>
    <div class="wb-model-list" role="group" aria-label="Models">
      ${view.cards.map((card) => html`<${Card} key=${card.name} card=${card} view=${view} send=${send} />`)}
    </div>
  <//>`;

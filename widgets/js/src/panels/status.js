import { html } from "../ui.js";

/** @param {Props<"status">} props */
export const Status = ({ view, send }) => html`
  <div class="wb-strip wb-strip-${view.kind}">
    <p class="t-status" role=${view.kind === "error" ? "alert" : "status"} aria-live="polite">
      ${view.kind === "error" && html`<b>Not done: </b>`}${view.text}
    </p>
    ${view.kind === "error" && html`<button type="button" class="wb-small" onClick=${() => send("dismiss")}>Dismiss</button>`}
  </div>`;

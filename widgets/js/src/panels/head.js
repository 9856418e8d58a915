import { Tour } from "../tour.js";
import { html } from "../ui.js";

// The page is long: these go to its regions, by mouse and by keyboard.
/** @param {Element} button @param {string} name */
const go = (button, name) => {
  const region = button.closest(".wb-screen")?.querySelector(`.wb-p-${name}`);
  region?.scrollIntoView({ behavior: "smooth", block: "start" });
  const first = /** @type {HTMLElement | null | undefined} */ (region?.querySelector("button, input, select"));
  first?.focus({ preventScroll: true });
};

/** @param {Props<"head">} props */
export const Head = ({ view }) => html`
  ${view.lost && html`<p class="wb-lost t-lost" role="alert">${view.lost}</p>`}
  <header class="wb-title">
    <svg viewBox="0 0 32 32" width="34" height="34" aria-hidden="true">
      <rect x="2" y="2" width="28" height="28" rx="7" fill="#0072b2" />
      <path d="M7 8v16M12 11v10M17 13v6M22 14.5v3" stroke="#fff" stroke-width="2.6" stroke-linecap="round" />
    </svg>
    <div>
      <h1>${view.title}</h1>
      <p>${view.subtitle}</p>
    </div>
    <nav class="wb-nav" aria-label="Regions of the page">
      ${view.regions.map((r) => html`<button type="button" class="wb-link" onClick=${(e) => go(e.currentTarget, r.panel)}>${r.label}</button>`)}
      <${Tour} stops=${view.tour} />
    </nav>
  </header>`;

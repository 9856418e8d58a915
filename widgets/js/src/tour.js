// The tour of the screen: a card that goes from panel to panel, by mouse or keyboard, and can be left at any stop.
import { html, useEffect, useId, useRef, useState } from "./ui.js";

const GAP = 12; // px between the card and what it speaks of

// Where the card stands: below its panel, else above it, else over its lower end; always within the window.
/**
 * @param {{ top: number, bottom: number, left: number }} panel
 * @param {{ width: number, height: number }} card
 * @param {{ width: number, height: number }} view
 */
export function place(panel, card, view) {
  const below = panel.bottom + GAP;
  const above = panel.top - GAP - card.height;
  const low = view.height - GAP - card.height;
  const top = below <= low ? below : above >= GAP ? above : low;
  const left = Math.min(Math.max(panel.left, GAP), view.width - GAP - card.width);
  return { top: Math.max(top, GAP), left: Math.max(left, GAP) };
}

/** @param {{ stops: View.Stop[] }} props */
export const Tour = ({ stops }) => {
  const [at, setAt] = useState(-1);
  const begin = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const leave = () => {
    setAt(-1);
    begin.current?.focus();
  };
  return html`
    <button type="button" class="wb-link t-tour" ref=${begin} onClick=${() => setAt(0)}>Tour</button>
    ${at >= 0 && html`<${Card} key=${at} stops=${stops} at=${at} go=${setAt} leave=${leave} screen=${begin.current?.closest(".wb-screen")} />`}`;
};

/** @param {{ stops: View.Stop[], at: number, go: (at: number) => void, leave: () => void, screen?: Element | null }} props */
const Card = ({ stops, at, go, leave, screen }) => {
  const card = useRef(/** @type {HTMLElement | null} */ (null));
  const id = useId("tour");
  const stop = stops[at];
  const last = at === stops.length - 1;
  useEffect(() => {
    const panel = screen?.querySelector(`.wb-p-${stop.panel}`);
    panel?.scrollIntoView({ block: "nearest" });
    panel?.classList.add("wb-toured");
    const settle = () => {
      const el = card.current;
      if (!el) return;
      const box = panel?.getBoundingClientRect() ?? { top: 0, bottom: 0, left: 0 };
      const { top, left } = place(box, { width: el.offsetWidth, height: el.offsetHeight }, { width: window.innerWidth, height: window.innerHeight });
      Object.assign(el.style, { top: "0", left: "0" });
      const from = el.getBoundingClientRect(); // of the window's corner, unless what is around it counts from its own
      Object.assign(el.style, { top: `${top - from.top}px`, left: `${left - from.left}px` });
    };
    settle();
    card.current?.focus({ preventScroll: true });
    document.addEventListener("scroll", settle, { capture: true, passive: true });
    window.addEventListener("resize", settle);
    return () => {
      panel?.classList.remove("wb-toured");
      document.removeEventListener("scroll", settle, { capture: true });
      window.removeEventListener("resize", settle);
    };
  }, []);
  return html`
    <div class="wb-tour t-tour-card" role="dialog" aria-labelledby=${id} aria-describedby=${`${id}-text`} tabindex="-1" ref=${card}
      onKeyDown=${(e) => e.key === "Escape" && leave()}>
      <h2 id=${id}>${stop.title}</h2>
      <p id=${`${id}-text`}>${stop.text}</p>
      <div class="wb-tour-ways">
        <span>${at + 1} of ${stops.length}</span>
        <button type="button" class="wb-link t-tour-leave" onClick=${leave}>${last ? "Done" : "Leave"}</button>
        ${at > 0 && html`<button type="button" onClick=${() => go(at - 1)}>Back</button>`}
        ${!last && html`<button type="button" class="wb-primary t-tour-next" onClick=${() => go(at + 1)}>Next</button>`}
      </div>
    </div>`;
};

// The limits of a chart's axes as rules that can be dragged, or moved by keyboard; an unset one rests at the end of
// its axis that allows everything.
import { digits } from "./formatting.js";
import { limitAt, onAxis, placed, pressed, styles } from "./threshold.js";
import { html, throttle, useEffect, useMemo, useRef, useState } from "./ui.js";

const EVERY = 60; // ms between two messages while a rule is dragged
const SETTLED = 400; // ms without a move until Python's value is shown

// A rule's value: what is held while it moves, and Python's a moment after that, since its echo comes back late.
/**
 * @param {View.LimitRule} rule
 * @param {Send} send
 * @returns {[number | null, (value: number | null) => void, (on: boolean) => void]}
 */
function useHeld(rule, send) {
  const [held, setHeld] = useState(/** @type {number | null | undefined} */ (undefined)); // undefined: nothing is held
  const moving = useRef(false);
  const timer = useRef(0);
  const tell = useMemo(() => throttle((/** @type {number | null} */ value) => send("drag", { axis: rule.axis, value }), EVERY), [rule.axis]);
  const settle = () => {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => !moving.current && setHeld(undefined), SETTLED);
  };
  useEffect(settle, [rule.value, rule.column]);
  useEffect(() => () => clearTimeout(timer.current), []);
  /** @param {number | null} value */
  const hold = (value) => {
    setHeld(value);
    tell(value);
    settle();
  };
  /** @param {boolean} on */
  const hand = (on) => {
    moving.current = on;
    settle();
  };
  return [held === undefined ? rule.value : held, hold, hand];
}

// Follows the pointer that went down on `event`'s element until it is let go.
/** @param {any} event @param {(event: PointerEvent) => void} onMove @param {() => void} onEnd */
function follow(event, onMove, onEnd) {
  const target = event.currentTarget;
  event.preventDefault();
  target.setPointerCapture(event.pointerId);
  const end = () => {
    target.removeEventListener("pointermove", onMove);
    target.removeEventListener("lostpointercapture", end);
    onEnd();
  };
  target.addEventListener("pointermove", onMove);
  target.addEventListener("lostpointercapture", end);
}

/** @param {{ rule: View.LimitRule, view: any, send: Send }} props */
function Rule({ rule, view, send }) {
  const across = rule.axis === "x";
  const [known, hold, hand] = useHeld(rule, send);
  const grip = useRef(/** @type {HTMLElement | null} */ (null));
  const place = placed(view, rule);
  const value = onAxis(place, known ?? place.rest);
  /** @param {number} to */
  const move = (to) => hold(limitAt(place, to));
  /** @param {any} event */
  const drag = (event) => {
    const rules = event.currentTarget.closest(".wb-rules");
    grip.current?.focus({ preventScroll: true });
    hand(true);
    /** @param {PointerEvent} e */
    const onMove = (e) => {
      const box = rules.getBoundingClientRect();
      move(place.value(across ? e.clientX - box.left - place.left : e.clientY - box.top - place.top));
    };
    follow(event, onMove, () => hand(false));
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const to = pressed(event.key, place, value);
    if (to === null) return;
    move(to);
    event.preventDefault();
  };
  const set = known !== null;
  const text = set ? `${rule.sign} ${digits(known)}${rule.unit}` : "none";
  const [line, shade] = styles(place, across, place.pixel(value), across === rule.low);
  return html`
    ${set && html`<div class="wb-rule-shade" style=${shade}></div>`}
    <div class="wb-rule wb-rule-${rule.axis} ${set ? "wb-rule-set" : ""}" style=${line} onPointerDown=${drag}>
      <div
        ref=${grip}
        class="wb-grip ${across && rule.low ? "wb-grip-top" : ""} t-rule-${rule.axis}"
        role="slider"
        tabindex="0"
        aria-label=${rule.label}
        aria-orientation=${across ? "horizontal" : "vertical"}
        aria-valuemin=${place.from}
        aria-valuemax=${place.to}
        aria-valuenow=${value}
        aria-valuetext=${text}
        title="${rule.label}: ${text}. Drag, or use the arrow keys; Delete takes it away."
        onKeyDown=${press}
      ></div>
      ${set && html`<span class="wb-rule-text" aria-hidden="true">${text}</span>`}
    </div>`;
}

// `view` is Vega's view in an object that is another one each time its scales may have moved.
/** @param {{ rules: View.LimitRule[], drawn: { view: any } | null, send: Send }} props */
export const Rules = ({ rules, drawn, send }) => html`
  <div class="wb-rules">
    ${drawn?.view && rules.map((rule) => html`<${Rule} key=${rule.axis + rule.column} rule=${rule} view=${drawn.view} send=${send} />`)}
  </div>`;

// The limits of a chart's axes as rules that can be dragged, or moved by keyboard; an unset one rests at the end of
// its axis that allows everything.
import { html, throttle, useEffect, useMemo, useRef, useState } from "./ui.js";

const EVERY = 60; // ms between two messages while a rule is dragged
const SETTLED = 400; // ms without a move until Python's value is shown
const KEYS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };

// Where an axis lies in the page, and its values there and back.
function geometry(view, axis) {
  const scale = view.scale(axis);
  const [left, top] = [view.origin()[0] + view.padding().left, view.origin()[1] + view.padding().top];
  const range = scale.range();
  const domain = scale.domain().map(Number);
  return {
    left, top, width: view.width(), height: view.height(),
    from: Math.min(...domain), to: Math.max(...domain),
    pixel: (value) => scale(value),
    value: (pixel) => scale.invert(Math.min(Math.max(pixel, Math.min(...range)), Math.max(...range))),
  };
}

const digits = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });

function Rule({ rule, view, send }) {
  const across = rule.axis === "x";
  const [held, setHeld] = useState(undefined); // undefined: nothing is held, and Python's value stands
  const grip = useRef(null);
  const tell = useMemo(() => throttle((value) => send("drag", { axis: rule.axis, value }), EVERY), [rule.axis]);
  // Python's value comes back late: while the rule moves, and a moment longer, what is held stands.
  const moving = useRef(false);
  const timer = useRef(null);
  const settle = () => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => !moving.current && setHeld(undefined), SETTLED);
  };
  useEffect(settle, [rule.value, rule.column]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const place = geometry(view, rule.axis);
  const rest = rule.low ? place.from : place.to;
  const known = held === undefined ? rule.value : held;
  const value = Math.min(Math.max(known ?? rest, place.from), place.to);
  const move = (to) => {
    const clamped = Math.min(Math.max(to, place.from), place.to);
    const next = clamped === rest ? null : clamped;
    setHeld(next);
    tell(next);
    settle();
  };
  const drag = (event) => {
    event.preventDefault();
    grip.current.focus({ preventScroll: true });
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    moving.current = true;
    const follow = (e) => {
      const box = target.closest(".wb-rules").getBoundingClientRect();
      move(place.value(across ? e.clientX - box.left - place.left : e.clientY - box.top - place.top));
    };
    const end = () => {
      moving.current = false;
      settle();
      target.removeEventListener("pointermove", follow);
      target.removeEventListener("lostpointercapture", end);
    };
    target.addEventListener("pointermove", follow);
    target.addEventListener("lostpointercapture", end);
  };
  const press = (event) => {
    const step = (place.to - place.from) / 100;
    if (event.key in KEYS) move(value + KEYS[event.key] * step);
    else if (event.key === "Home") move(place.from);
    else if (event.key === "End") move(place.to);
    else if (event.key === "Delete" || event.key === "Backspace") move(rest);
    else return;
    event.preventDefault();
  };
  const at = place.pixel(value);
  const forbidden = across === rule.low; // true: the side with the smaller pixels
  const set = known !== null && known !== undefined;
  const text = set ? `${rule.sign} ${digits(known)}${rule.unit}` : "none";
  const line = across
    ? `left:${place.left + at}px;top:${place.top}px;height:${place.height}px`
    : `left:${place.left}px;top:${place.top + at}px;width:${place.width}px`;
  const shade = across
    ? `top:${place.top}px;height:${place.height}px;left:${place.left + (forbidden ? 0 : at)}px;width:${forbidden ? at : place.width - at}px`
    : `left:${place.left}px;width:${place.width}px;top:${place.top + (forbidden ? 0 : at)}px;height:${forbidden ? at : place.height - at}px`;
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
export const Rules = ({ rules, drawn, send }) => html`
  <div class="wb-rules">
    ${drawn?.view && rules.map((rule) => html`<${Rule} key=${rule.axis + rule.column} rule=${rule} view=${drawn.view} send=${send} />`)}
  </div>`;

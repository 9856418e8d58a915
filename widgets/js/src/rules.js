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

// A rule's value: what is held while it moves, and Python's a moment after that, since its echo comes back late.
function useHeld(rule, send) {
  const [held, setHeld] = useState(undefined); // undefined: nothing is held
  const moving = useRef(false);
  const timer = useRef(null);
  const tell = useMemo(() => throttle((value) => send("drag", { axis: rule.axis, value }), EVERY), [rule.axis]);
  const settle = () => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => !moving.current && setHeld(undefined), SETTLED);
  };
  useEffect(settle, [rule.value, rule.column]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const hold = (value) => {
    setHeld(value);
    tell(value);
    settle();
  };
  const hand = (on) => {
    moving.current = on;
    settle();
  };
  return [held === undefined ? rule.value : held, hold, hand];
}

// Follows the pointer that went down on `event`'s element until it is let go.
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

// The styles of the line at `at` pixels, and of the side of it that is not allowed.
function styles(place, across, at, before) {
  const box = (left, top, width, height) => `left:${left}px;top:${top}px;width:${width}px;height:${height}px`;
  const { left, top, width, height } = place;
  if (across) {
    const line = `left:${left + at}px;top:${top}px;height:${height}px`;
    return [line, box(left + (before ? 0 : at), top, before ? at : width - at, height)];
  }
  const line = `left:${left}px;top:${top + at}px;width:${width}px`;
  return [line, box(left, top + (before ? 0 : at), width, before ? at : height - at)];
}

function Rule({ rule, view, send }) {
  const across = rule.axis === "x";
  const [known, hold, hand] = useHeld(rule, send);
  const grip = useRef(null);
  const place = geometry(view, rule.axis);
  const within = (value) => Math.min(Math.max(value, place.from), place.to);
  const rest = rule.low ? place.from : place.to;
  const value = within(known ?? rest);
  const move = (to) => hold(within(to) === rest ? null : within(to));
  const drag = (event) => {
    const rules = event.currentTarget.closest(".wb-rules");
    grip.current.focus({ preventScroll: true });
    hand(true);
    const onMove = (e) => {
      const box = rules.getBoundingClientRect();
      move(place.value(across ? e.clientX - box.left - place.left : e.clientY - box.top - place.top));
    };
    follow(event, onMove, () => hand(false));
  };
  const press = (event) => {
    const goals = { Home: place.from, End: place.to, Delete: rest, Backspace: rest };
    if (event.key in KEYS) move(value + (KEYS[event.key] * (place.to - place.from)) / 100);
    else if (event.key in goals) move(goals[event.key]);
    else return;
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
export const Rules = ({ rules, drawn, send }) => html`
  <div class="wb-rules">
    ${drawn?.view && rules.map((rule) => html`<${Rule} key=${rule.axis + rule.column} rule=${rule} view=${drawn.view} send=${send} />`)}
  </div>`;

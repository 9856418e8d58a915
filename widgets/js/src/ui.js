// What every panel uses: Preact with tagged templates, unique ids, a throttle.
import { h, render } from "preact";
import { useEffect, useErrorBoundary, useMemo, useRef, useState } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);
export { render, useEffect, useErrorBoundary, useMemo, useRef, useState };

let count = 0;
export const useId = (prefix) => useMemo(() => `wb-${prefix}-${(count += 1)}`, []);

// Passes on the first call at once and then the latest one every `wait` ms, so that a dragged slider
// is followed without a queue building up.
export function throttle(fn, wait) {
  let timer = null;
  let pending = null;
  const tick = () => {
    timer = pending ? setTimeout(tick, wait) : null;
    if (pending) fn(...pending);
    pending = null;
  };
  return (...args) => {
    pending = args;
    if (timer === null) tick();
  };
}

// `title` is a heading of the page; `aside` stands at the end of its line.
export const Section = ({ title, aside, children, label }) => html`
  <section class="wb-card" aria-label=${label ?? title}>
    ${title && html`<header class="wb-card-head"><h2>${title}</h2>${aside}</header>`}
    ${children}
  </section>`;

// What every panel uses: Preact with tagged templates, unique ids, a throttle.
import { h, render } from "preact";
import { useEffect, useErrorBoundary, useMemo, useRef, useState } from "preact/hooks";
import htm from "htm";

/**
 * Whatever stands in a template; what it makes of an event is said where it stands.
 * @type {(strings: TemplateStringsArray, ...values: (((event: any, ...more: any[]) => any) | {} | null | undefined)[]) => any}
 */
export const html = htm.bind(h);
export { render, useEffect, useErrorBoundary, useMemo, useRef, useState };

let count = 0;
/** @param {string} prefix @returns {string} */
export const useId = (prefix) =>
  useMemo(() => {
    count += 1;
    return `wb-${prefix}-${count}`;
  }, []);

// Passes on the first call at once and then the latest one every `wait` ms, so that a dragged slider
// is followed without a queue building up.
/**
 * @template {any[]} Arguments
 * @param {(...args: Arguments) => void} fn
 * @param {number} wait
 */
export function throttle(fn, wait) {
  /** @type {ReturnType<typeof setTimeout> | null} */
  let timer = null;
  /** @type {Arguments | null} */
  let pending = null;
  const tick = () => {
    timer = pending ? setTimeout(tick, wait) : null;
    if (pending) fn(...pending);
    pending = null;
  };
  /** @param {Arguments} args */
  return (...args) => {
    pending = args;
    if (timer === null) tick();
  };
}

// `title` is a heading of the page; `aside` stands at the end of its line.
/** @param {{ title?: string, aside?: any, children?: any, label?: string }} props */
export const Section = ({ title, aside, children, label }) => html`
  <section class="wb-card" aria-label=${label ?? title}>
    ${title && html`<header class="wb-card-head"><h2>${title}</h2>${aside}</header>`}
    ${children}
  </section>`;

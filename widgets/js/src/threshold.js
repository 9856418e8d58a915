// A limit on a chart's axis in numbers: where it lies, what a key makes of it, when it is none.

/** @type {Record<string, number>} Hundredths of the axis. */
const KEYS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };

/**
 * @typedef {object} Place
 * An axis in the page's pixels; `from` and `to` are its lowest and highest value, `rest` the one that allows everything.
 * @property {number} left
 * @property {number} top
 * @property {number} width
 * @property {number} height
 * @property {number} from
 * @property {number} to
 * @property {number} rest
 * @property {(value: number) => number} pixel
 * @property {(pixel: number) => number} value
 */

/** @param {number} value @param {number[]} ends */
const between = (value, ends) => Math.min(Math.max(value, Math.min(...ends)), Math.max(...ends));

// Where an axis lies in the page, and its values there and back.
/**
 * @param {any} view Vega's view, which has no type for its scales.
 * @param {{ axis: "x" | "y", low: boolean }} rule
 * @returns {Place}
 */
export function placed(view, { axis, low }) {
  const scale = view.scale(axis);
  const domain = scale.domain().map(Number);
  const [from, to] = [Math.min(...domain), Math.max(...domain)];
  return {
    left: view.origin()[0] + view.padding().left, top: view.origin()[1] + view.padding().top,
    width: view.width(), height: view.height(),
    from, to, rest: low ? from : to,
    pixel: (value) => scale(value),
    value: (pixel) => scale.invert(between(pixel, scale.range())),
  };
}

/** @param {Place} place @param {number} value */
export const onAxis = (place, value) => between(value, [place.from, place.to]);

// What a rule that is moved to `value` stands for: null, no limit, at the end that allows everything.
/** @param {Place} place @param {number} value */
export const limitAt = (place, value) => (onAxis(place, value) === place.rest ? null : onAxis(place, value));

// Where a key moves a rule at `value`; null for any other key.
/** @param {string} key @param {Place} place @param {number} value @returns {number | null} */
export function pressed(key, place, value) {
  if (Object.hasOwn(KEYS, key)) return value + (KEYS[key] * (place.to - place.from)) / 100;
  if (key === "Home") return place.from;
  if (key === "End") return place.to;
  return key === "Delete" || key === "Backspace" ? place.rest : null;
}

// The styles of the line at `at` pixels, and of the side of it that is not allowed.
/** @param {Place} place @param {boolean} across @param {number} at @param {boolean} before */
export function styles(place, across, at, before) {
  /** @type {(left: number, top: number, width: number, height: number) => string} */
  const box = (left, top, width, height) => `left:${left}px;top:${top}px;width:${width}px;height:${height}px`;
  const { left, top, width, height } = place;
  if (across) {
    const line = `left:${left + at}px;top:${top}px;height:${height}px`;
    return [line, box(left + (before ? 0 : at), top, before ? at : width - at, height)];
  }
  const line = `left:${left}px;top:${top + at}px;width:${width}px`;
  return [line, box(left, top + (before ? 0 : at), width, before ? at : height - at)];
}

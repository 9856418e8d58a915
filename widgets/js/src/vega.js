// One Vega view in an element: draws a specification once and patches its data and parameters after that.
import embed from "vega-embed";
import { changeset, Error as ERROR } from "vega";
import { explain } from "./about.js";
import { look, onGround, onLook, vegaConfig } from "./theme.js";
import { useEffect, useRef, useState } from "./ui.js";

/**
 * @typedef {object} Listener
 * @property {(id: string) => void} onPick A mark was clicked.
 * @property {(view: any, spec: string | null) => void} [onDrawn] The scales may have moved; no view: nothing is drawn.
 */
/** @typedef {View.Drawing & { selected?: string }} Wanted */

// From the rows that are drawn to others: where the same marks stay, only the values that differ are changed,
// which spares Vega to lay out everything anew; a slider waits for this.
/** @param {any[]} drawn @param {any[]} rows */
function difference(drawn, rows) {
  const same = rows.length === drawn.length && rows.every((row, n) => row.id !== undefined && row.id === drawn[n].id);
  if (!same) return changeset().remove(() => true).insert(structuredClone(rows));
  const changes = changeset();
  rows.forEach((row, n) => {
    for (const [key, value] of Object.entries(row)) if (drawn[n][key] !== value) changes.modify(drawn[n], key, value);
  });
  return changes;
}

export class Plot {
  /** @type {Wanted | null} */
  wanted = null;
  /** @type {any[] | null} The rows that are drawn. */
  rows = null;
  /** @type {string | null} The specification that is drawn, as JSON. */
  drawn = null;
  /** What it is drawn for: the page's look, and the width there. */
  ground = "";
  width = 0;
  /** @type {any} What vega-embed gave, and Vega's view of it; both without useful types. */
  result = null;
  /** @type {any} */
  view = null;
  /** @type {Promise<void>} */
  turn = Promise.resolve();

  /** @param {HTMLElement} element @param {Listener} on @param {(error: Error) => void} fail */
  constructor(element, on, fail) {
    this.element = element;
    this.on = on;
    this.fail = fail;
    // A host puts the element into its page when it likes, and makes it wider while the window stays as it is.
    const watcher = new ResizeObserver(() => this.check());
    watcher.observe(element);
    const stop = onLook(() => this.check());
    this.unwatch = () => {
      watcher.disconnect();
      stop();
    };
  }

  /** @param {Wanted} view */
  show(view) {
    this.wanted = view;
    this.queue();
  }

  // The page has changed somehow: drawn again only where the chart would come out otherwise.
  check() {
    if (this.element.clientWidth !== this.width || look(this.element) !== this.ground) this.queue();
  }

  // Drawings come one after another; each takes what is wanted by then.
  queue() {
    this.turn = this.turn.then(() => this.draw()).catch(this.fail);
  }

  async draw() {
    if (!this.wanted) return undefined;
    const { spec, rows, selected, summary } = this.wanted;
    if (!rows.length) return this.clear(); // axes without a value would only mislead
    const width = this.element.clientWidth;
    if (!width) return undefined; // not in the page yet: neither its width nor the page's colours are known
    const [text, ground] = [JSON.stringify(spec), look(this.element)];
    if (text !== this.drawn || ground !== this.ground) await this.embed(spec, rows, text);
    else if (rows !== this.rows) this.view.change(spec.data.name, difference(this.view.data(spec.data.name), rows));
    Object.assign(this, { rows, ground, width });
    this.view.signal("width", width);
    if (selected !== undefined) this.view.signal("selected", selected);
    await this.view.runAsync();
    this.on.onDrawn?.(this.view, this.drawn);
    const svg = this.element.querySelector("svg");
    svg?.setAttribute("role", "img");
    svg?.setAttribute("aria-label", summary);
    svg?.querySelector("g")?.setAttribute("aria-hidden", "true");
    explain(this.element);
    return undefined;
  }

  clear() {
    this.result?.finalize();
    this.element.replaceChildren();
    this.drawn = null;
    this.rows = null;
    this.on.onDrawn?.(null, null);
  }

  /** @param {View.Drawing["spec"]} spec @param {any[]} rows @param {string} text */
  async embed(spec, rows, text) {
    this.result?.finalize();
    this.on.onDrawn?.(null, null);
    // Warnings would tell the console of every group that has no mark yet.
    /** @type {import("vega-embed").EmbedOptions} */
    const options = { actions: false, mode: "vega-lite", renderer: "svg", config: /** @type {any} */ (vegaConfig(this.element)), logLevel: ERROR };
    this.result = await embed(this.element, { ...JSON.parse(onGround(text)), data: { ...spec.data, values: structuredClone(rows) } }, options);
    this.view = this.result.view;
    this.drawn = text;
    this.view.addResizeListener(() => this.on.onDrawn?.(this.view, text));
    this.view.addEventListener("click", (/** @type {unknown} */ _, /** @type {any} */ item) => item?.datum?.id && this.on.onPick(item.datum.id));
  }

  finalize() {
    this.unwatch();
    this.turn = this.turn.then(() => this.result?.finalize());
  }
}

// A panel's chart, drawn in the element that `box` is set on. What goes wrong there is thrown to the panel's guard.
/** @param {Listener} on */
export function usePlot(on) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const plot = useRef(/** @type {Plot | null} */ (null));
  const [failed, fail] = useState(/** @type {Error | null} */ (null));
  const latest = useRef(on);
  latest.current = on;
  useEffect(() => {
    /** @type {Listener} */
    const now = { onPick: (id) => latest.current.onPick(id), onDrawn: (...drawn) => latest.current.onDrawn?.(...drawn) };
    const made = new Plot(/** @type {HTMLElement} */ (box.current), now, fail);
    plot.current = made;
    return () => made.finalize();
  }, []);
  if (failed) throw failed;
  return { box, plot };
}

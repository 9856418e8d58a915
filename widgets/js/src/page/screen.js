// The widgets of one visitor, drawn where the kernel has put them: boxes with children, and panels.
import { Kernel } from "./kernel.js";
import { Model } from "./model.js";

const PREFIX = "IPY_MODEL_";
const ANSWER_MS = 15000; // a kernel that has the screen answers within it, whatever it computes
const RETRIES_MS = [300, 1000, 2000, 4000, 8000];

/** @typedef {{ kernel: string, root: string }} Visit The kernel of a visitor, and the widget that holds the screen. */
/** @typedef {"live" | "lost" | "unreachable" | "ended"} Connection */
/** @typedef {(model: WidgetModel, el: HTMLElement) => void} Mount */

/** @type {<T>(promise: Promise<T>, ms: number) => Promise<T>} */
const within = (promise, ms) => Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error("no answer")), ms))]);
/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Screen {
  /** @type {Map<string, Model>} */
  models = new Map();
  shown = false;
  over = false;
  retrying = false;

  /** @param {Visit} visit @param {Mount} mount @param {(state: Connection) => void} said */
  constructor(visit, mount, said) {
    this.root = visit.root;
    this.mount = mount;
    this.said = said;
    this.kernel = new Kernel(visit.kernel, {
      comm: (id, data, buffers) => this.models.get(id)?.receive(data, buffers),
      ended: () => this.end(),
      closed: () => this.shown && this.retry(),
    });
  }

  // Draws into `place`. False where the kernel is gone or does not know the screen.
  /** @param {HTMLElement} place */
  async show(place) {
    if ((await this.kernel.state()) !== "alive") return false;
    try {
      await this.kernel.connect();
      const element = await within(this.draw(this.root), ANSWER_MS);
      place.replaceChildren(element);
    } catch {
      this.kernel.close();
      return false;
    }
    this.shown = true;
    this.said("live");
    return true;
  }

  /** @param {string} id */
  async model(id) {
    const model = this.models.get(id) ?? new Model(id, (data, buffers) => this.kernel.comm(id, data, buffers));
    if (!this.models.has(id)) {
      this.models.set(id, model);
      model.request();
    }
    await model.known;
    return model;
  }

  /** @param {string} id @returns {Promise<HTMLElement>} */
  async draw(id) {
    const model = await this.model(id);
    const element = document.createElement("div");
    element.classList.add(...model.get("_dom_classes"));
    // The first of the root's children would bring the module and the style, which this page has.
    const children = id === this.root ? model.get("children").slice(1) : model.get("children");
    if (children) element.append(...(await Promise.all(children.map((/** @type {string} */ child) => this.draw(child.slice(PREFIX.length))))));
    else if (model.get("panel")) this.mount(model, element);
    return element;
  }

  // The connection broke. The kernel goes on meanwhile, and what it shows by then is asked for again.
  async retry() {
    if (this.over || this.retrying) return;
    this.retrying = true;
    for (let n = 0; !this.over; n += 1) {
      const state = await this.kernel.state();
      if (state === "ended") this.end();
      else this.said(state === "alive" ? "lost" : state);
      await sleep(RETRIES_MS[Math.min(n, RETRIES_MS.length - 1)]);
      if (state !== "alive") continue;
      try {
        await this.kernel.connect();
        break;
      } catch {
        // the next round tries again
      }
    }
    this.retrying = false;
    if (this.over) return;
    for (const model of this.models.values()) model.request();
    this.said("live");
  }

  end() {
    this.over = true;
    this.kernel.close();
    this.said("ended");
  }
}

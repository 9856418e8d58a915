// One widget of the kernel as the panels know it: `get`, `on`, `off`, `send`, as anywidget gives them in a notebook.
/** @typedef {(data: object, buffers?: (ArrayBuffer | ArrayBufferView)[]) => boolean} Post False where there is no connection. */

/** @implements {WidgetModel} */
export class Model {
  /** @type {any} What it shares with Python; null until the kernel has sent it. */
  state = null;
  /** @type {Map<string, ((...details: any[]) => void)[]>} */
  listeners = new Map();

  /** @param {string} id @param {Post} send */
  constructor(id, send) {
    this.id = id;
    this.post = send;
    this.arrived = () => {};
    this.known = /** @type {Promise<void>} */ (new Promise((resolve) => (this.arrived = resolve)));
  }

  /** @param {string} name */
  get(name) {
    return this.state[name];
  }

  /** @param {string} names @param {(...details: any[]) => void} listener */
  on(names, listener) {
    for (const name of names.split(" ")) this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }

  /** @param {string} names @param {(...details: any[]) => void} listener */
  off(names, listener) {
    for (const name of names.split(" ")) this.listeners.set(name, (this.listeners.get(name) ?? []).filter((one) => one !== listener));
  }

  /** @param {string} name @param {any[]} details */
  fire(name, ...details) {
    for (const listener of this.listeners.get(name) ?? []) listener(...details);
  }

  /** @param {object} content @param {object} [_callbacks] @param {(ArrayBuffer | ArrayBufferView)[]} [buffers] */
  send(content, _callbacks, buffers) {
    return this.post({ method: "custom", content }, buffers);
  }

  request() {
    return this.post({ method: "request_state" });
  }

  /** @param {any} data @param {DataView[]} buffers */
  receive(data, buffers) {
    if (data.method === "custom") return this.fire("msg:custom", data.content, buffers);
    if (data.method !== "update") return undefined;
    // Changes may come before the whole that was asked for; it has them already.
    if (this.state === null && !("_model_name" in data.state)) return undefined;
    this.state = { ...this.state, ...data.state };
    for (const name of Object.keys(data.state)) this.fire(`change:${name}`);
    this.arrived();
    return undefined;
  }
}

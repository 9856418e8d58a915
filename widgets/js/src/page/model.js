// One widget of the kernel as the panels know it: `get`, `on`, `off`, `send`, as anywidget gives them in a notebook.
export class Model {
  constructor(id, send) {
    this.id = id;
    this.post = send;
    this.state = null; // until the kernel has sent it
    this.listeners = new Map();
    this.known = new Promise((resolve) => (this.arrived = resolve));
  }

  get(name) {
    return this.state[name];
  }

  on(names, listener) {
    for (const name of names.split(" ")) this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }

  off(names, listener) {
    for (const name of names.split(" ")) this.listeners.set(name, (this.listeners.get(name) ?? []).filter((one) => one !== listener));
  }

  fire(name, ...details) {
    for (const listener of this.listeners.get(name) ?? []) listener(...details);
  }

  send(content, _callbacks, buffers) {
    return this.post({ method: "custom", content }, buffers);
  }

  request() {
    return this.post({ method: "request_state" });
  }

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

// The page's connection with the real @jupyterlab/services, over a socket that this file is the other end of.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

const services = await import("@jupyterlab/services/lib/kernel/serialize.js").catch(() => null);
const { Kernel } = services ? await import("../src/page/kernel.js") : {};
const skip = services ? false : "the packages of widgets/js are not installed (npm ci)";
const PROTOCOL = "v1.kernel.websocket.jupyter.org";
const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

class Socket extends EventTarget {
  static all = [];
  protocol = PROTOCOL;
  sent = [];

  constructor(address, protocols) {
    super();
    Object.assign(this, { address: String(address), protocols });
    Socket.all.push(this);
  }

  dispatchEvent(event) {
    super.dispatchEvent(event);
    this[`on${event.type}`]?.(event); // as in a browser, where it is set behind the listeners of before
  }

  send(frame) {
    this.sent.push(services.deserialize(frame.buffer ?? frame, PROTOCOL));
  }

  close() {
    this.closed = true;
  }

  say(header, content, channel = "iopub", parent = {}) {
    const about = { msg_id: Math.random().toString(), username: "", session: "s", date: "", version: "5.3" };
    const frame = services.serialize({ channel, header: { ...about, ...header }, parent_header: parent, metadata: {}, content, buffers: [] }, PROTOCOL);
    this.dispatchEvent(Object.assign(new Event("message"), { data: frame.buffer ?? frame }));
  }

  answer() {
    const asked = this.sent.find(({ header }) => header.msg_type === "kernel_info_request");
    const info = { status: "ok", protocol_version: "5.3", implementation: "", implementation_version: "", banner: "", help_links: [], language_info: { name: "python" } };
    this.say({ msg_type: "kernel_info_reply" }, info, "shell", asked.header);
    this.say({ msg_type: "status" }, { execution_state: "idle" }, "iopub", asked.header);
  }
}

// The element by which @jupyterlab/coreutils takes addresses apart.
class Link {
  set href(text) {
    this.url = new URL(text, globalThis.document.baseURI);
    for (const part of ["protocol", "host", "hostname", "port", "pathname", "search", "hash"]) this[part] = this.url[part];
  }

  get href() {
    return this.url.href;
  }
}

let kernel;
let heard;

beforeEach(async () => {
  if (!services) return;
  const document = { baseURI: "http://there.test/deep/?theme=dark", createElement: () => new Link() };
  Object.assign(globalThis, { WebSocket: Socket, document });
  Socket.all = [];
  heard = [];
  kernel = new Kernel("k-1", {
    comm: (id, data) => heard.push(["comm", id, data]),
    ended: () => heard.push(["ended"]),
    closed: () => heard.push(["closed"]),
  });
});
afterEach(() => kernel?.close());

async function connected() {
  const connecting = kernel.connect();
  const socket = Socket.all.at(-1);
  socket.dispatchEvent(new Event("open"));
  await connecting;
  socket.answer();
  await turn();
  return socket;
}

test("it goes to the kernel's channels beside the page, and what it says arrives", { skip }, async () => {
  const socket = await connected();
  assert.ok(socket.address.startsWith("ws://there.test/deep/api/kernels/k-1/channels?session_id="), socket.address);
  assert.ok(socket.protocols.includes(PROTOCOL));
  socket.say({ msg_type: "comm_msg" }, { comm_id: "c", data: { method: "update" } });
  socket.say({ msg_type: "stream" }, { name: "stdout", text: "nothing for a widget" });
  await turn();
  assert.deepEqual(heard, [["comm", "c", { method: "update" }]]);
});

test("a widget's message is sent whole, and not where nothing is connected", { skip }, async () => {
  assert.equal(kernel.comm("c", {}), false);
  const socket = await connected();
  assert.equal(kernel.comm("c", { method: "custom" }, [new Uint8Array([1, 2, 3]).buffer]), true);
  const { header, content, channel, buffers } = socket.sent.at(-1);
  assert.deepEqual([channel, header.msg_type, content], ["shell", "comm_msg", { comm_id: "c", data: { method: "custom" } }]);
  assert.deepEqual([...new Uint8Array(buffers[0].buffer, buffers[0].byteOffset, 3)], [1, 2, 3]);
});

test("a connection that breaks is told once, and nothing but the page opens the next one", { skip }, async () => {
  const socket = await connected();
  socket.dispatchEvent(new Event("close"));
  await turn();
  assert.deepEqual(heard, [["closed"]]);
  assert.equal(Socket.all.length, 1);
  assert.equal(kernel.comm("c", {}), false);
  await connected();
  assert.equal(Socket.all.length, 2);
  assert.equal(kernel.comm("c", {}), true);
});

test("a connection that is refused is an error, at once", { skip }, async () => {
  const connecting = kernel.connect();
  Socket.all[0].dispatchEvent(new Event("close"));
  await assert.rejects(connecting, /refused/);
  await turn();
  assert.equal(Socket.all.length, 1);
});

for (const state of ["dead", "restarting"])
  test(`a kernel that says it is ${state} has ended`, { skip }, async () => {
    const socket = await connected();
    socket.say({ msg_type: "status" }, { execution_state: state });
    await turn();
    assert.ok(heard.some(([what]) => what === "ended"));
    kernel.close();
    await turn();
    assert.equal(Socket.all.length, 1);
  });

// The connection to one visitor's kernel: messages of widgets there and back, and whether it lives.
import { PROTOCOL, decode, encode } from "./protocol.js";

const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

export class Kernel {
  // `on` holds what is called: comm(id, data, buffers), ended(), closed().
  constructor(id, on) {
    this.address = new URL(`api/kernels/${id}`, document.baseURI);
    this.on = on;
  }

  // "alive", "ended", or "unreachable" where the server does not answer.
  async state() {
    try {
      const answer = await fetch(this.address, { cache: "no-store" });
      return answer.ok ? "alive" : answer.status === 404 ? "ended" : "unreachable";
    } catch {
      return "unreachable";
    }
  }

  connect() {
    this.session = random();
    const address = new URL(`${this.address.href}/channels?session_id=${this.session}`);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address, [PROTOCOL]);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.receive(decode(data));
    return new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onclose = () => {
        reject(new Error("the connection was refused"));
        this.on.closed();
      };
    });
  }

  receive({ header, content, buffers }) {
    if (header.msg_type === "comm_msg") this.on.comm(content.comm_id, content.data, buffers);
    if (header.msg_type === "status" && ["dead", "restarting", "autorestarting"].includes(content.execution_state)) this.on.ended();
  }

  // False where there is no connection to send it by.
  comm(id, data, buffers = []) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    const about = { username: "", session: this.session, date: new Date().toISOString(), version: "5.3" };
    const header = { msg_id: random(), msg_type: "comm_msg", ...about };
    this.socket.send(encode("shell", header, { comm_id: id, data }, buffers));
    return true;
  }

  close() {
    this.on = { comm() {}, ended() {}, closed() {} };
    this.socket?.close();
  }
}

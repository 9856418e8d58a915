// The connection to one visitor's kernel: messages of widgets there and back, and whether it lives.
import { KernelConnection } from "@jupyterlab/services/lib/kernel/default.js";
import { createMessage, isCommMsgMsg } from "@jupyterlab/services/lib/kernel/messages.js";
import { ServerConnection } from "@jupyterlab/services/lib/serverconnection.js";

const OVER = ["dead", "restarting", "autorestarting"];

/**
 * @typedef {{ comm: (id: string, data: any, buffers: any[]) => void, ended: () => void, closed: () => void }} Listener
 * What is called.
 */

/**
 * A WebSocket that tells of its end first: what the page does then is its own to decide.
 * @param {() => void} closed
 */
const socket = (closed) =>
  class extends WebSocket {
    /** @param {string | URL} address @param {string | string[]} [protocols] */
    constructor(address, protocols) {
      super(address, protocols);
      this.addEventListener("close", closed);
    }
  };

/** Connects once: a kernel that restarts has ended for this page, and a connection that breaks is the page's to mend. */
class Connection extends KernelConnection {
  /** @returns {Promise<void>} */
  reconnect() {
    return Promise.resolve();
  }
}

export class Kernel {
  /** @param {string} id @param {Listener} on */
  constructor(id, on) {
    this.id = id;
    this.on = on;
  }

  // "unreachable": the server does not answer.
  /** @returns {Promise<"alive" | "ended" | "unreachable">} */
  async state() {
    try {
      const answer = await fetch(new URL(`api/kernels/${this.id}`, document.baseURI), { cache: "no-store" });
      return answer.ok ? "alive" : answer.status === 404 ? "ended" : "unreachable";
    } catch {
      return "unreachable";
    }
  }

  /** @returns {Promise<void>} */
  connect() {
    return new Promise((resolve, reject) => {
      const closed = () => {
        connection.dispose(); // else it would try again by itself, and seldom
        reject(new Error("the connection was refused"));
        this.on.closed();
      };
      const baseUrl = new URL(".", document.baseURI).href;
      const settings = { baseUrl, wsUrl: baseUrl.replace("http", "ws"), appendToken: false, WebSocket: socket(closed) };
      const serverSettings = ServerConnection.makeSettings(settings);
      const connection = new Connection({ model: { id: this.id, name: "" }, serverSettings, handleComms: false });
      connection.iopubMessage.connect((_, message) => this.receive(message));
      connection.statusChanged.connect((_, status) => OVER.includes(status) && this.on.ended());
      connection.connectionStatusChanged.connect((_, status) => status === "connected" && resolve());
      this.connection = connection;
    });
  }

  /** @param {import("@jupyterlab/services/lib/kernel/messages.js").IIOPubMessage} message */
  receive(message) {
    if (isCommMsgMsg(message)) this.on.comm(message.content.comm_id, message.content.data, message.buffers ?? []);
  }

  // False where there is no connection to send it by.
  /** @param {string} id @param {any} data @param {(ArrayBuffer | ArrayBufferView)[]} [buffers] */
  comm(id, data, buffers = []) {
    if (this.connection?.connectionStatus !== "connected") return false;
    const { username, clientId: session } = this.connection;
    const content = { comm_id: id, data };
    this.connection.sendShellMessage(createMessage({ msgType: "comm_msg", channel: "shell", username, session, content, buffers }));
    return true;
  }

  close() {
    this.on = { comm() {}, ended() {}, closed() {} };
    this.connection?.dispose();
  }
}

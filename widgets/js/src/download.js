// Files to the user's own machine, piece by piece.
import { ask } from "./channel.js";

const PIECE = 393216; // bytes a message
const PACE = 450; // ms between messages: a notebook server lets about 1 MB a second pass

/** @param {number} ms */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Fetches a file from the kernel: no folder to open.
// What is made when it is asked for has no size before: its last piece is the one that is not full.
/** @param {WidgetModel} model @param {string} file @param {number | null} size @param {(share: number) => void} report */
export async function download(model, file, size, report) {
  /** @type {DataView<ArrayBuffer>[]} */
  const pieces = [];
  let more = size !== 0;
  for (let offset = 0; more; offset += PIECE) {
    const begun = performance.now();
    const [content] = await ask(model, { action: "piece", file, offset, length: PIECE });
    pieces.push(content);
    more = size === null ? content.byteLength === PIECE : offset + PIECE < size;
    report(size === null ? 0 : Math.min(1, (offset + PIECE) / size));
    if (more) await wait(Math.max(0, PACE - (performance.now() - begun)));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(pieces));
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

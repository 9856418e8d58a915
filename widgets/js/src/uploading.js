// Sends a file to the kernel.
import { ask } from "./channel.js";

const PIECE = 1 << 19; // bytes a message

/** @param {WidgetModel} model @param {File} file @param {(share: number) => void} report */
export async function upload(model, file, report) {
  for (let offset = 0; offset < file.size || offset === 0; offset += PIECE) {
    const content = await file.slice(offset, offset + PIECE).arrayBuffer();
    await ask(model, { action: "upload", file: file.name, size: file.size, offset }, [content]);
    report(Math.min(1, (offset + PIECE) / Math.max(1, file.size)));
  }
}

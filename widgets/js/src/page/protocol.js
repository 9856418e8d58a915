// A message of a kernel's channels as the bytes of Jupyter's protocol for WebSockets, version 1, and back:
// the number of offsets, the offsets, then channel, header, parent header, metadata, content and any buffers.
export const PROTOCOL = "v1.kernel.websocket.jupyter.org";
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const WORD = 8; // bytes of an offset, little-endian

const asBytes = (buffer) => (ArrayBuffer.isView(buffer) ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength) : new Uint8Array(buffer));

export function encode(channel, header, content, buffers = []) {
  const json = [header, {}, {}, content].map((part) => encoder.encode(JSON.stringify(part)));
  const parts = [encoder.encode(channel), ...json, ...buffers.map(asBytes)];
  const offsets = [WORD * (parts.length + 2)];
  for (const part of parts) offsets.push(offsets.at(-1) + part.byteLength);
  const bytes = new Uint8Array(offsets.at(-1));
  const words = new DataView(bytes.buffer);
  words.setBigUint64(0, BigInt(offsets.length), true);
  offsets.forEach((offset, i) => words.setBigUint64(WORD * (i + 1), BigInt(offset), true));
  parts.forEach((part, i) => bytes.set(part, offsets[i]));
  return bytes;
}

export function decode(data) {
  const words = new DataView(data);
  const count = Number(words.getBigUint64(0, true));
  const offsets = Array.from({ length: count }, (_, i) => Number(words.getBigUint64(WORD * (i + 1), true)));
  const json = (i) => JSON.parse(decoder.decode(new Uint8Array(data, offsets[i], offsets[i + 1] - offsets[i])));
  const buffers = [];
  for (let i = 5; i + 1 < count; i += 1) buffers.push(new DataView(data, offsets[i], offsets[i + 1] - offsets[i]));
  return { header: json(1), content: json(4), buffers };
}

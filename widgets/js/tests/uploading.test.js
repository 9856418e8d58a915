import assert from "node:assert/strict";
import { test } from "node:test";
import { ask } from "../src/channel.js";
import { upload } from "../src/uploading.js";

const PIECE = 2 ** 19;

// A widget whose kernel answers each message with `answer(message)`; what was sent is kept.
function kernel(answer) {
  const listeners = new Set();
  const sent = [];
  return {
    sent, listeners,
    on: (_, listener) => listeners.add(listener),
    off: (_, listener) => listeners.delete(listener),
    send: (message, _, buffers) => {
      sent.push([message, new Uint8Array(buffers[0] ?? [])]);
      queueMicrotask(() => {
        for (const listener of [...listeners]) listener(...answer(message));
      });
    },
  };
}
const echo = ({ file, offset }) => [{ file, offset }, ["the buffers"]];

for (const size of [0, 1, PIECE, PIECE + 1, 3 * PIECE - 7])
  test(`a file of ${size} bytes arrives whole, in order, and its end is reported`, async () => {
    const bytes = Uint8Array.from({ length: size }, (_, n) => n % 251);
    const model = kernel(echo);
    const shares = [];
    await upload(model, Object.assign(new Blob([bytes]), { name: "a.npz" }), (share) => shares.push(share));
    assert.equal(model.sent.length, Math.max(1, Math.ceil(size / PIECE)));
    assert.deepEqual(Buffer.concat(model.sent.map(([, content]) => content)), Buffer.from(bytes));
    model.sent.forEach(([message], n) => {
      assert.deepEqual(message, { action: "upload", file: "a.npz", size, offset: n * PIECE });
    });
    assert.equal(shares.at(-1), 1);
    assert.deepEqual(shares, [...shares].sort((a, b) => a - b));
    assert.equal(model.listeners.size, 0);
  });

test("what the kernel refuses ends the upload with its sentence", async () => {
  const model = kernel((message) => [{ ...echo(message)[0], error: "It is full." }, []]);
  const file = Object.assign(new Blob([new Uint8Array(2 * PIECE)]), { name: "a.npz" });
  await assert.rejects(upload(model, file, () => {}), /It is full/);
  assert.equal(model.sent.length, 1);
  assert.equal(model.listeners.size, 0);
});

test("an answer about another piece or another file is not taken for this one's", async () => {
  const model = kernel(() => [{ file: "a", offset: 5 }, []]);
  const pending = ask(model, { action: "piece", file: "a", offset: 0 });
  let settled = false;
  pending.then(() => (settled = true));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(settled, false);
  for (const listener of [...model.listeners]) listener({ file: "b", offset: 0 }, ["wrong"]);
  for (const listener of [...model.listeners]) listener({ file: "a", offset: 0 }, ["right"]);
  assert.deepEqual(await pending, ["right"]);
});

test("a kernel that has ended, or stays silent, is said", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const ended = { ...kernel(echo), send: () => { throw new Error("closed"); } };
  await assert.rejects(ask(ended, { action: "piece", file: "a", offset: 0 }), /has ended/);
  const silent = { ...kernel(echo), send: () => {} };
  const pending = assert.rejects(ask(silent, { action: "piece", file: "a", offset: 0 }), /did not answer within 30 s/);
  t.mock.timers.tick(30_000);
  await pending;
  assert.equal(silent.listeners.size, 0);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { track } from "../src/track.js";

test("a slider moves evenly between its ends", () => {
  const { ends, place, value } = track({ low: 0.05, high: 1, step: 0.01, stops: [], prefix: "" });
  assert.deepEqual(ends, { min: 0.05, max: 1, step: 0.01 });
  assert.deepEqual(["0.5", "0.05", "1", "1.01", "evbmf", ""].map(place), [0.5, 0.05, 1, null, null, null]);
  assert.equal(value(0.3), 0.3);
});

test("along stops it moves from one to the next, and a value between them lies at the nearest", () => {
  const { ends, place, value } = track({ low: 0, high: 9, step: 1, stops: [0.001, 0.01, 0.1], prefix: "" });
  assert.deepEqual(ends, { min: 0, max: 2, step: 1 });
  assert.deepEqual(["0.001", "0.012", "0.1", "0.2"].map(place), [0, 1, 2, null]);
  assert.equal(value(2), 0.1);
});

test("of a rule it moves the number", () => {
  const { place, value } = track({ low: 0.05, high: 1, step: 0.01, stops: [], prefix: "energy:" });
  assert.deepEqual(["energy:0.9", "energy:", "macs:0.9", "0.9"].map(place), [0.9, null, null, null]);
  assert.equal(value(0.8), "energy:0.8");
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { unfolded } from "../src/folds.js";

test("a new step is unfolded alone", () => {
  assert.deepEqual(unfolded([], [], ["SVD-0"], 0), ["SVD-0"]);
  assert.deepEqual(unfolded(["SVD-0"], ["SVD-0"], ["SVD-0", "Quantize-0"], 1), ["Quantize-0"]);
  assert.deepEqual(unfolded(["Quantize-0"], ["SVD-0", "Quantize-0"], ["SVD-0", "Prune-0", "Quantize-0"], 1), ["Prune-0"]);
});

test("of many that come at once it is the one that was touched last", () => {
  assert.deepEqual(unfolded([], [], ["SVD-0", "Prune-0", "Quantize-0"], 1), ["Prune-0"]);
});

test("a step that is moved stays as it is, and so do those that the user has opened", () => {
  assert.deepEqual(unfolded(["SVD-0", "Prune-0"], ["SVD-0", "Prune-0"], ["Prune-0", "SVD-0"], 0), ["SVD-0", "Prune-0"]);
  assert.deepEqual(unfolded([], ["SVD-0", "Prune-0"], ["Prune-0", "SVD-0"], 0), []);
});

test("where the open one is taken out, the one that is edited then is unfolded", () => {
  assert.deepEqual(unfolded(["Prune-0"], ["SVD-0", "Prune-0"], ["SVD-0"], 0), ["SVD-0"]);
  assert.deepEqual(unfolded(["SVD-0"], ["SVD-0", "Prune-0"], ["SVD-0"], 0), ["SVD-0"]);
  assert.deepEqual(unfolded(["SVD-0"], ["SVD-0"], [], 0), []);
});

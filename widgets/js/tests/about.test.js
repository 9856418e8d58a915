import assert from "node:assert/strict";
import { test } from "node:test";
import { about } from "../src/about.js";

test("a word is explained however it is written, with its unit or without", () => {
  assert.match(about("MACs") ?? "", /^Multiply-accumulates/);
  assert.equal(about("MACs (M)"), about("macs"));
  assert.equal(about("Latency (ms, batch 1)"), about("Latency"));
});

test("a change is explained by its figure, and by what a paired change is", () => {
  assert.ok(about("Change of accuracy")?.startsWith(about("Accuracy") ?? "none"));
  assert.ok(about("Change of accuracy")?.endsWith(about("Paired change") ?? "none"));
});

test("a word of a user's own has no explanation", () => assert.equal(about("My own metric"), undefined));

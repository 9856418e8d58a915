import assert from "node:assert/strict";
import { test } from "node:test";
import { following, sorted } from "../src/sorting.js";

const ROWS = [3, null, 1, undefined, 2].map((n) => ({ n }));
const value = (row, key) => row[key];
const order = (down) => sorted(ROWS, "n", down, value).map((row) => row.n ?? "missing");

test("what is missing comes last in both directions", () => {
  assert.deepEqual(order(false), [1, 2, 3, "missing", "missing"]);
  assert.deepEqual(order(true), [3, 2, 1, "missing", "missing"]);
});

test("without a column the rows stay as they are, and sorting changes none of them", () => {
  assert.equal(sorted(ROWS, null, true, value), ROWS);
  sorted(ROWS, "n", true, value);
  assert.deepEqual(ROWS.map((row) => row.n), [3, null, 1, undefined, 2]);
});

test("rows of one value keep their order, in both directions", () => {
  const same = ["a", "b", "c"].map((name) => ({ name, n: 1 }));
  for (const down of [false, true]) assert.deepEqual(sorted(same, "n", down, value).map((row) => row.name), ["a", "b", "c"]);
});

test("a nought is a value", () => {
  assert.deepEqual(sorted([{ n: 1 }, { n: null }, { n: 0 }], "n", false, value).map((row) => row.n), [0, 1, null]);
});

for (const [numeric, first] of [[true, true], [false, false]])
  test(`a heading of ${numeric ? "numbers" : "names"} goes round: one way, the other, none`, () => {
    const column = { key: "n", label: "N", numeric };
    const one = following({ column: null, down: false }, column);
    assert.deepEqual(one, { column: "n", down: first });
    const two = following(one, column);
    assert.deepEqual(two, { column: "n", down: !first });
    assert.equal(following(two, column).column, null);
    assert.deepEqual(following(two, { ...column, key: "m" }), { column: "m", down: first });
  });

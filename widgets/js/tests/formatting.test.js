import assert from "node:assert/strict";
import { test } from "node:test";
import { about, digits, duration, percent } from "../src/formatting.js";

test("four digits are shown, with commas between thousands", () => {
  for (const [value, text] of [[0.123456, "0.1235"], [1234567, "1,235,000"], [2, "2"], [0, "0"], [-0.5, "-0.5"], [99.999, "100"]])
    assert.equal(digits(value), text);
});

test("shares are whole percents", () => {
  for (const [share, text] of [[0, "0 %"], [0.005, "1 %"], [0.994, "99 %"], [1, "100 %"]]) assert.equal(percent(share), text);
});

test("a duration turns to minutes at sixty seconds, and is never less than none", () => {
  for (const [seconds, text] of [[-3, "0 s"], [59.9, "59 s"], [60, "1 min 0 s"], [3599, "59 min 59 s"]])
    assert.equal(duration(seconds), text);
});

test("what is left is said roughly, and never as less than it is", () => {
  for (const [seconds, text] of [[9.9, "a few seconds"], [10, "about 10 s"], [11, "about 15 s"], [54, "about 55 s"], [55, "about 1 min"], [61, "about 2 min"]])
    assert.equal(about(seconds), text);
});

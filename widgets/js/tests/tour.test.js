import assert from "node:assert/strict";
import { test } from "node:test";
import { place } from "../src/tour.js";

const card = { width: 320, height: 150 };
const view = { width: 1440, height: 900 };

test("the card stands below its panel where there is room", () => {
  assert.deepEqual(place({ top: 100, bottom: 300, left: 40 }, card, view), { top: 312, left: 40 });
});

test("else above it, else over its lower end", () => {
  assert.deepEqual(place({ top: 500, bottom: 890, left: 40 }, card, view), { top: 500 - 12 - 150, left: 40 });
  assert.deepEqual(place({ top: 20, bottom: 2000, left: 40 }, card, view), { top: 900 - 12 - 150, left: 40 });
});

test("it never leaves the window, however narrow that is", () => {
  assert.equal(place({ top: 100, bottom: 300, left: 1400 }, card, view).left, 1440 - 12 - 320);
  assert.deepEqual(place({ top: -50, bottom: -10, left: -30 }, card, { width: 300, height: 120 }), { top: 12, left: 12 });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { room } from "../src/room.js";

test("the column ends where the window does, wherever it begins", () => {
  const box = { top: 0, bottom: 900 };
  assert.equal(room(box, 250), 900 - 8 - 250);
  assert.equal(room(box, -400), 900 - 16); // scrolled: it sticks to the upper edge
  assert.equal(room({ top: 110, bottom: 860 }, 20), 860 - 110 - 16); // in a notebook, below its toolbars
});

test("it is never too low for what it holds", () => {
  assert.ok(room({ top: 0, bottom: 900 }, 880) >= 600);
});

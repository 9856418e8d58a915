import assert from "node:assert/strict";
import { test } from "node:test";
import { limitAt, onAxis, placed, pressed, styles } from "../src/threshold.js";

// A view as Vega gives it: 200 pixels across for 0 to 10, 100 up for 0.5 to 1, the origin at (30, 5).
function linear(domain, range) {
  const slope = (range[1] - range[0]) / (domain[1] - domain[0]);
  const scale = (value) => range[0] + (value - domain[0]) * slope;
  return Object.assign(scale, { domain: () => domain, range: () => range, invert: (pixel) => domain[0] + (pixel - range[0]) / slope });
}
const VIEW = {
  scale: (axis) => ({ x: linear([0, 10], [0, 200]), y: linear([0.5, 1], [100, 0]) })[axis],
  origin: () => [30, 5], padding: () => ({ left: 4, top: 6 }), width: () => 200, height: () => 100,
};
const most = placed(VIEW, { axis: "x", low: false });
const least = placed(VIEW, { axis: "y", low: true });

test("an unset limit rests at the end that allows everything", () => {
  assert.equal(most.rest, 10);
  assert.equal(least.rest, 0.5);
  assert.deepEqual([most.left, most.top], [34, 11]);
});

test("pixels and values are each other's inverse, also where the axis goes upwards", () => {
  for (const place of [most, least])
    for (const share of [0, 0.25, 1]) {
      const value = place.from + share * (place.to - place.from);
      assert.ok(Math.abs(place.value(place.pixel(value)) - value) < 1e-12);
    }
  assert.equal(least.pixel(1), 0);
});

test("beyond the axis a pixel is its end", () => {
  assert.deepEqual([most.value(-50), most.value(999)], [0, 10]);
  assert.deepEqual([least.value(-50), least.value(999)], [1, 0.5]);
});

test("a rule that is moved to where it rests, or beyond, is no limit", () => {
  assert.equal(limitAt(most, 10), null);
  assert.equal(limitAt(most, 12), null);
  assert.equal(limitAt(most, -1), 0);
  assert.equal(limitAt(least, 0.4), null);
  assert.equal(limitAt(least, 0.75), 0.75);
  assert.equal(onAxis(least, 3), 1);
});

test("arrows move by a hundredth of the axis, pages by a tenth, and Delete takes the limit away", () => {
  for (const [key, value] of [["ArrowRight", 5.1], ["ArrowUp", 5.1], ["ArrowLeft", 4.9], ["ArrowDown", 4.9], ["PageUp", 6], ["PageDown", 4], ["Home", 0], ["End", 10]])
    assert.ok(Math.abs(pressed(key, most, 5) - value) < 1e-12, key);
  for (const key of ["Delete", "Backspace"]) assert.equal(limitAt(most, pressed(key, most, 5)), null);
  for (const key of ["Tab", "a", "toString", "constructor"]) assert.equal(pressed(key, most, 5), null);
});

test("the shade lies on the side that is not allowed", () => {
  assert.deepEqual(styles(most, true, 50, false), ["left:84px;top:11px;height:100px", "left:84px;top:11px;width:150px;height:100px"]);
  assert.deepEqual(styles(least, false, 40, false), ["left:34px;top:51px;width:200px", "left:34px;top:51px;width:200px;height:60px"]);
});

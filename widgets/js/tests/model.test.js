import assert from "node:assert/strict";
import { test } from "node:test";
import { Model } from "../src/page/model.js";

const WHOLE = { method: "update", state: { _model_name: "AnyModel", view: { a: 1 }, selected: "" } };

function model() {
  const sent = [];
  return [new Model("one", (data, buffers) => Boolean(sent.push([data, buffers]))), sent];
}

test("a change that comes before the whole state is in it already", async () => {
  const [one] = model();
  const heard = [];
  one.on("change:view", () => heard.push(one.get("view")));
  one.receive({ method: "update", state: { view: { a: 0 } } }, []);
  assert.equal(one.state, null);
  one.receive(WHOLE, []);
  await one.known;
  one.receive({ method: "update", state: { view: { a: 2 } } }, []);
  assert.deepEqual(heard, [{ a: 1 }, { a: 2 }]);
  assert.equal(one.get("selected"), "");
});

test("listeners hear the names that they asked for until they are taken off", () => {
  const [one] = model();
  const heard = [];
  const listener = () => heard.push("heard");
  one.on("change:view change:selected", listener);
  one.receive(WHOLE, []);
  assert.equal(heard.length, 2);
  one.off("change:view change:selected", listener);
  one.receive(WHOLE, []);
  assert.equal(heard.length, 2);
});

test("custom messages go both ways with their buffers", () => {
  const [one, sent] = model();
  const heard = [];
  one.on("msg:custom", (content, buffers) => heard.push([content, buffers]));
  one.receive({ method: "custom", content: { file: "a" } }, ["bytes"]);
  assert.deepEqual(heard, [[{ file: "a" }, ["bytes"]]]);
  one.send({ action: "run" }, undefined, ["more"]);
  one.request();
  assert.deepEqual(sent, [[{ method: "custom", content: { action: "run" } }, ["more"]], [{ method: "request_state" }, undefined]]);
});

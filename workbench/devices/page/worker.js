// Runs the networks, away from the page: one worker a row (a backend and its threads). Times and outputs go to the page.
import { block, resolution, shuffled, warmUp } from "./clock.js";

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, int64: BigInt64Array, int32: Int32Array,
  int16: Int16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
};
const LEAST = 4; // rounds of a session
const WARM_UP_MS = 2000; // at most

let ort;
let offer;
let feeds = []; // one input of each kind, as networks of this offer take it
let whole = []; // all of them
let files = [];
let sessions = [];
let over = false;
let hidden = false;

const breath = () => new Promise((done) => setTimeout(done, 0)); // lets messages in
const say = (kind, about, moved = []) => postMessage({ kind, ...about }, moved);

async function fetched(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).refused ?? `${path} could not be fetched.`);
  return answer.arrayBuffer();
}

function tensor({ kind, shape }, values, start, count) {
  const one = shape.reduce((a, b) => a * b, 1);
  return new ort.Tensor(kind, values.subarray(start * one, (start + count) * one), [count, ...shape]);
}

const inputs = (start, count) => offer.inputs.map((about, k) => tensor(about, whole[k], start, count));
const fed = (session, given) => Object.fromEntries(session.inputNames.map((name, k) => [name, given[k]]));

async function load(backend) {
  for (const one of sessions) await one.release();
  sessions = [];
  const ms = [];
  for (const file of files) {
    const begun = performance.now();
    sessions.push(await ort.InferenceSession.create(file.slice(), { executionProviders: [backend], graphOptimizationLevel: "all" }));
    ms.push(Math.max(performance.now() - begun, 1e-3));
  }
  return ms;
}

/** One function for each network that runs it once on one input; a row's outputs are given back to the processor. */
const runs = () =>
  sessions.map((session) => {
    const given = fed(session, feeds);
    return () => session.run(given);
  });

async function begin(data) {
  ({ offer } = data);
  say("stage", { text: "Loading ONNX Runtime and the networks." });
  ort = await import(data.backend === "webgpu" ? "./ort.jspi.min.mjs" : "./ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
  ort.env.wasm.numThreads = data.threads;
  ort.env.logLevel = "fatal";
  files = (await Promise.all(offer.networks.map((_, k) => fetched(`network/${k}`)))).map((one) => new Uint8Array(one));
  const bytes = await Promise.all(offer.inputs.map((_, k) => fetched(`input/${k}`)));
  whole = offer.inputs.map((about, k) => new ARRAYS[about.kind](bytes[k]));
  feeds = inputs(0, 1);
}

/** Sessions of rounds until the page says that it is enough, or the time is over. */
async function measure(data) {
  const finest = resolution();
  let spent = 0; // in rounds: how long loading takes says nothing about how many there should be
  for (let session = data.session; !over && spent < data.limit && session < offer.sessions; session++) {
    const load_ms = await load(data.backend); // anew: where memory lies is part of the noise
    const run = runs();
    const how = [];
    say("stage", { text: "Warming up." });
    for (const one of run) {
      how.push(await warmUp(one, finest, WARM_UP_MS / (session + 1), data.block));
      await breath();
    }
    spent = await rounds(run, how, { session, load_ms, spent, limit: data.limit });
  }
}

/** The rounds of one session; gives the milliseconds spent in all of them so far. */
async function rounds(run, how, { session, load_ms, spent, limit }) {
  let [sent, last] = [0, performance.now()];
  let start = last;
  const found = [];
  const send = () => {
    say("rounds", { session, start: sent, load_ms, rounds: found.slice(sent) });
    [sent, last] = [found.length, performance.now()];
  };
  while (!over && (found.length < LEAST || performance.now() - start < offer.session_ms)) {
    const times = Array(run.length);
    let seen = hidden;
    for (const k of shuffled(run.length)) {
      times[k] = await block(run[k], how[k]);
      await breath();
      seen ||= hidden;
    }
    if (seen) start += await shown(); // a round in the background is none
    else found.push(times);
    if (found.length >= LEAST && performance.now() - last > 1000) send();
    say("working", { share: Math.min(1, (spent + performance.now() - start) / limit) });
  }
  if (found.length > sent) send();
  return spent + performance.now() - start;
}

/** Waits until the page is in front; gives the milliseconds that it took. */
async function shown() {
  const since = performance.now();
  say("stage", { text: "Waiting: this page is in the background, where browsers slow it down." });
  while (hidden && !over) await new Promise((done) => setTimeout(done, 200));
  return performance.now() - since;
}

/** Outputs of each network for every input that is not answered yet, in pieces. */
async function answer(data) {
  for (let network = 0; network < sessions.length; network++) {
    for (let start = data.answered[network]; start < offer.count && !over; start += offer.piece) {
      const count = Math.min(offer.piece, offer.count - start);
      const piece = new Float32Array(count * offer.width);
      for (let k = 0; k < count; k++) {
        const session = sessions[network];
        const found = await session.run(fed(session, inputs(start + k, 1)));
        piece.set(Float32Array.from(found[session.outputNames[offer.output]].data, Number), k * offer.width);
        await breath();
      }
      say("outputs", { network, start, piece }, [piece.buffer]);
      say("working", { share: (network + (start + count) / offer.count) / sessions.length });
    }
  }
}

/** Minutes of turns without a pause: a point every few seconds. */
async function sustain(data) {
  const finest = resolution();
  await load(data.backend);
  const run = runs();
  const how = [];
  for (const one of run) how.push(await warmUp(one, finest, WARM_UP_MS / 4, data.block));
  const began = performance.now();
  while (!over && performance.now() - began < data.limit) {
    const until = performance.now() + data.every;
    const found = run.map(() => []);
    do {
      for (const k of shuffled(run.length)) found[k].push(await block(run[k], how[k]));
      await breath();
    } while (performance.now() < until && !over);
    const seconds = (performance.now() - began) / 1e3;
    say("point", { point: [seconds, ...found.map((one) => one.sort((a, b) => a - b)[one.length >> 1])] });
    say("working", { share: Math.min(1, (1e3 * seconds) / data.limit) });
  }
}

const WORK = { begin, measure, answer, sustain };

onmessage = async ({ data }) => {
  if (data.kind === "over") over = true;
  else if (data.kind === "hidden") ({ hidden } = data);
  else {
    over = false;
    try {
      await WORK[data.kind](data);
      say("done", {});
    } catch (error) {
      say("failed", { why: String(error?.message ?? error) });
    }
  }
};

// The page of a device: claims its key, has the networks run in workers, sends what they find, and shows what comes back.

const BLOCK_MS = 40;
const MOST_THREADS = 16;
// The smallest module that uses a SIMD instruction (WebAssembly's own test of the feature).
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];

const at = (id) => document.getElementById(id);
const text = (id, said) => {
  at(id).textContent = said;
};
const state = { offer: null, worker: null, stopped: false, known: null, row: null };

class Refused extends Error {}

function alarm(said) {
  text("alert", said);
  at("alert").hidden = !said;
}

/** Send something to the desk and take in what it answers. Away from it, what is sent waits, and is sent again. */
async function send(path, body, patience = Number.POSITIVE_INFINITY) {
  for (let pause = 500; ; pause = Math.min(2 * pause, 10_000)) {
    let answer;
    try {
      answer = await fetch(path, { method: "POST", body });
    } catch {
      if (patience-- <= 0) throw new Error("The workbench cannot be reached.");
      alarm("The workbench cannot be reached from here. What was measured waits, and is sent when it is back.");
      await new Promise((done) => setTimeout(done, pause));
      continue;
    }
    const said = await answer.json().catch(() => ({ refused: "The workbench answers in a way that this page does not know." }));
    if (!answer.ok) throw new Refused(said.refused);
    alarm("");
    return said;
  }
}

const tell = async (path, about) => learn(await send(path, JSON.stringify(about)));

function learn(known) {
  state.known = known;
  if (document.activeElement !== at("name")) at("name").value = known.name;
  show(known);
}

// What is shown -------------------------------------------------------------------------------------------------------

function made(name, said = "", about = {}) {
  const one = Object.assign(document.createElement(name), about);
  if (said) one.textContent = said;
  return one;
}

const digits = (value, most = 3) => (value >= 100 ? value.toFixed(0) : value.toPrecision(most));

const lasting = (ms) => (ms < 6e4 ? `${digits(ms / 1e3, 2)} s` : `${digits(ms / 6e4, 2).replace(/\.0$/, "")} minutes`);

function ratio([value, low, high], first) {
  const cell = made("td", first ? "1×" : `${value.toFixed(2)}×`);
  if (!first) cell.append(made("small", `${low.toFixed(2)} to ${high.toFixed(2)}`));
  if (high < 1) {
    cell.classList.add("slower");
    cell.append(made("small", "slower", { className: "slower" }));
  }
  return cell;
}

function same(answer) {
  if (!answer) return made("td", "");
  if (answer.differing === null) return made("td", `off by ${digits(answer.largest, 2)} at most`);
  return made("td", answer.differing ? `${answer.differing} of ${answer.n} differ` : `all ${answer.n}`);
}

function table(row, place, known) {
  const found = made("table");
  found.append(made("caption", row.title));
  const [head, body] = [made("thead"), made("tbody")];
  const names = ["Network", "Times as fast", "ms", ...(place ? [] : ["Same answers"])];
  head.append(made("tr"));
  for (const one of names) head.firstChild.append(made("th", one, { scope: "col" }));
  row.figures.forEach((figure, k) => {
    const line = made("tr");
    line.append(made("th", state.offer.networks[k].name, { scope: "row" }), ratio(figure.ratio, k === 0), made("td", digits(figure.ms)));
    if (!place) line.append(same(known.answers[k]));
    body.append(line);
  });
  found.append(head, body);
  const around = made("div", "", { className: "wide", tabIndex: 0, role: "group", ariaLabel: row.title });
  around.append(found);
  return around;
}

function show(known) {
  const shown = known.rows.map((row, place) =>
    row.figures.length ? table(row, place, known) : made("p", `${row.title}: ${row.note || "measuring."}`, { className: "note" }),
  );
  at("tables").replaceChildren(...shown);
}

const SHAPE = { left: 48, right: 630, top: 12, bottom: 205 };

function drawn(name, about, said = "") {
  const one = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(about)) one.setAttribute(key, value);
  one.textContent = said;
  return one;
}

/** Speed of each network over time, relative to its first points. */
function drawSustained(points) {
  const svg = at("sustained").querySelector("svg");
  const colours = ["#d55e00", "#009e73", "#0072b2", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#f0e442"];
  const first = state.offer.networks.map((_, k) => (points.slice(0, 3).map((one) => one[k + 1]).sort((a, b) => a - b)[Math.min(1, points.length - 1)]));
  const speed = points.map((one) => first.map((ms, k) => ms / one[k + 1]));
  const [least, most] = [Math.min(0.8, ...speed.flat()), Math.max(1.1, ...speed.flat())];
  const x = (seconds) => SHAPE.left + ((SHAPE.right - SHAPE.left) * seconds) / Math.max(points.at(-1)[0], state.offer.keep_ms / 1e3);
  const y = (share) => SHAPE.bottom - ((SHAPE.bottom - SHAPE.top) * (share - least)) / (most - least);
  const parts = [1, least, most].map((share) => drawn("text", { x: 4, y: y(share) + 5 }, `${Math.round(100 * share)} %`));
  parts.push(drawn("path", { class: "rule", d: `M${SHAPE.left} ${y(1)}H${SHAPE.right}` }));
  parts.push(drawn("text", { x: SHAPE.left, y: 230 }, "0 s"), drawn("text", { x: SHAPE.right, y: 230, "text-anchor": "end" }, lasting(state.offer.keep_ms)));
  first.forEach((_, k) => {
    const d = points.map((one, i) => `${i ? "L" : "M"}${x(one[0]).toFixed(1)} ${y(speed[i][k]).toFixed(1)}`).join("");
    parts.push(drawn("path", { d, stroke: colours[k % colours.length], "stroke-dasharray": k ? `${3 * k + 3} 3` : "none" }));
  });
  svg.replaceChildren(...parts);
  const trend = state.offer.networks.map(({ name }, k) => `${name} ${Math.round(100 * speed.at(-1)[k])} %`).join(", ");
  const said = `After ${digits(points.at(-1)[0])} s, of the speed at the start: ${trend}.`;
  svg.setAttribute("aria-label", said);
  text("trend", said);
  at("sustained").hidden = false;
}

// What is done --------------------------------------------------------------------------------------------------------

/** A worker for a row; `ask` has it do something, and hears what it finds on the way. */
function employ(row) {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  state.worker = worker;
  worker.postMessage({ kind: "hidden", hidden: document.hidden });
  const ask = (data, hear = {}) =>
    new Promise((done, fail) => {
      let last = Promise.resolve(); // what is sent is sent in order
      worker.onerror = (event) => fail(new Error(event.message || "The networks cannot be run in this browser."));
      worker.onmessage = ({ data: said }) => {
        if (said.kind === "stage") text("status", `${row.title}. ${said.text}`);
        else if (said.kind === "working") at("progress").value = said.share;
        else if (said.kind === "done") last.then(done, fail);
        else if (said.kind === "failed") last.then(() => fail(new Error(said.why)), fail);
        else {
          last = last.then(() => hear[said.kind](said));
          last.catch(fail);
        }
      };
      worker.postMessage({ offer: state.offer, backend: row.backend, threads: row.threads, block: BLOCK_MS, ...data });
    });
  return { ask, end: () => worker.terminate(), over: () => worker.postMessage({ kind: "over" }) };
}

const about = (row) => ({ offer: state.offer.offer, backend: row.backend, threads: row.threads });
const knownOf = (row) => state.known.rows.find((one) => one.backend === row.backend && one.threads === row.threads);

async function measure(row) {
  const before = knownOf(row);
  const answered = state.known.answered;
  const asks = row.answers && answered.some((one) => one < state.offer.count);
  if (before?.enough && !asks) return;
  const hired = employ(row);
  try {
    await hired.ask({ kind: "begin" });
    if (!before?.enough)
      await hired.ask({ kind: "measure", session: before?.sessions ?? 0, limit: state.offer.limit_ms }, {
        rounds: async ({ session, start, load_ms, rounds }) => {
          await tell("times", { ...about(row), session, start, load_ms, rounds });
          text("status", `${row.title}. Measuring in turns.`);
          if (knownOf(row)?.enough || state.stopped) hired.over();
        },
      });
    if (asks && !state.stopped) {
      text("status", `${row.title}. Answering ${state.offer.count} test inputs, to compare answers.`);
      await hired.ask({ kind: "answer", answered }, {
        outputs: async ({ network, start, piece }) => learn(await send(`outputs?network=${network}&start=${start}`, piece)),
      });
    }
  } catch (error) {
    if (error instanceof Refused) alarm(error.message);
    else await tell("failed", { ...about(row), why: line(error.message) }).catch((again) => alarm(again.message));
  } finally {
    hired.end();
    state.worker = null;
  }
}

const line = (said) => said.replace(/[^\x20-\x7e]+/g, " ").slice(0, 300) || "Something went wrong.";

async function keepOn() {
  const row = ROWS[0];
  const points = [];
  state.stopped = false;
  buttons(true);
  const hired = employ(row);
  try {
    await hired.ask({ kind: "begin" });
    text("status", `${row.title}. Running for ${lasting(state.offer.keep_ms)}, to see what heat does.`);
    await hired.ask({ kind: "sustain", limit: state.offer.keep_ms, every: state.offer.keep_ms / 60 }, {
      point: async ({ point }) => {
        points.push(point);
        drawSustained(points);
        await tell("sustained", { ...about(row), points });
      },
    });
  } catch (error) {
    alarm(error.message);
  } finally {
    hired.end();
    state.worker = null;
  }
  finish();
}

function buttons(working) {
  at("stop").hidden = !working;
  at("keep").hidden = working;
  at("progress").hidden = !working;
}

function finish() {
  buttons(false);
  const failed = state.known.rows.every((row) => !row.figures.length);
  text("status", failed ? "Nothing was measured here." : "Done. The figures are in the study; this page may be closed.");
}

/** The ways to run networks in this browser: on one thread, on all that it offers, on its graphics unit. */
const ROWS = [{ backend: "wasm", threads: 1, title: "WebAssembly, one thread", answers: true }];

async function plan() {
  const most = Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
  if (crossOriginIsolated && most > 1) ROWS.push({ backend: "wasm", threads: most, title: `WebAssembly, ${most} threads` });
  // WebGPU, where the browser has it, and can let WebAssembly wait for it.
  const graphics = "Suspending" in WebAssembly && (await navigator.gpu?.requestAdapter().catch(() => null));
  if (graphics) ROWS.push({ backend: "webgpu", threads: 1, title: "WebGPU" });
  text(
    "clock",
    crossOriginIsolated
      ? "This page is isolated: its clock is fine, and it may use all threads."
      : "This address is not secure in the browser's eyes (plain HTTP from another machine): it gives one thread and a coarse clock, so blocks are longer.",
  );
}

/** What this device may be called: its model where the browser tells, else the browser and the system. */
async function guessed() {
  const more = await navigator.userAgentData?.getHighEntropyValues?.(["model", "platform"]).catch(() => null);
  const agent = navigator.userAgent;
  const system = more?.platform || (/iPhone|iPad|Android|Windows|Mac OS|Linux/.exec(agent) ?? ["a device"])[0];
  const browser = (/Firefox|Edg|OPR|Chrome|Safari/.exec(agent) ?? ["Browser"])[0].replace("Edg", "Edge").replace("OPR", "Opera");
  const name = more?.model || `${browser} on ${system}`;
  return name.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, " ").trim().slice(0, 30).trim() || "A device";
}

async function claim() {
  const agent = line(navigator.userAgent).slice(0, 400);
  const introduction = { browser: agent, name: await guessed(), cores: Math.min(navigator.hardwareConcurrency || 1, 1024), isolated: crossOriginIsolated };
  const { known, ...offer } = await send("claim", JSON.stringify(introduction), 5);
  state.offer = offer;
  at("work").hidden = false;
  text("keep", `Keep running for ${lasting(offer.keep_ms)}`);
  learn(known);
}

async function awake() {
  await navigator.wakeLock?.request("screen").catch(() => null); // a device that sleeps measures nothing
}

async function run() {
  if (!globalThis.WebAssembly?.validate(new Uint8Array(SIMD))) {
    alarm("This browser has no WebAssembly with SIMD, which ONNX Runtime needs, so nothing can be measured in it. Browsers since 2023 have it: update this one, or open the address in another.");
    return;
  }
  try {
    await claim();
  } catch (error) {
    alarm(error.message);
    return;
  }
  await plan();
  await awake();
  for (const row of ROWS) if (!state.stopped) await measure(row);
  await tell("done", {}).catch((error) => alarm(error.message));
  finish();
}

at("naming").addEventListener("submit", (event) => {
  event.preventDefault();
  at("name").blur();
  tell("name", { name: at("name").value.trim() }).catch((error) => alarm(error.message));
});
at("stop").addEventListener("click", () => {
  state.stopped = true;
  state.worker?.postMessage({ kind: "over" });
  text("status", "Stopping after this turn.");
});
at("keep").addEventListener("click", keepOn);
document.addEventListener("visibilitychange", () => {
  state.worker?.postMessage({ kind: "hidden", hidden: document.hidden });
  if (!document.hidden) awake();
});

run();

// The dashboard's page: finds this tab's kernel, or asks for one, and draws its screen. A reload finds it again.
import { followSystem } from "../theme.js";
import { Screen } from "./screen.js";

/** @typedef {import("./screen.js").Visit} Visit */

const KEPT = "workbench-visit"; // of this tab alone: another tab is another visitor
/** @type {(selector: string, within?: ParentNode) => any} What the page's own HTML holds. */
const own = (selector, within = document) => within.querySelector(selector);
/** @type {Promise<{ mount: import("./screen.js").Mount }>} */
const screenModule = import(/* @vite-ignore */ own("link[rel=modulepreload]").href);

const NOTICES = {
  live: "",
  lost: "The connection to the workbench is lost. Its server still answers, so what runs goes on there; this page tries again until it is back.",
  unreachable:
    "The server of the workbench does not answer: it was stopped, or the network on the way is down. If it was stopped, " +
    "what ran there has ended with it. This page tries again until it is back.",
  ended:
    "The process behind this page has ended: it was not used for long, needed more than a visitor may have, or was stopped. " +
    "Variants that are kept in a folder, as the region of the model says, are there again; others are gone with it.",
};

/** @param {string} text @param {boolean} button */
function say(text, button) {
  const notice = own(".wb-notice");
  notice.hidden = !text;
  own("p", notice).textContent = text;
  own("button", notice).hidden = !button;
}

// Asks for a kernel with the screen in it. Lines arrive as it starts: first its name, then what its one cell gives.
/** @returns {Promise<Visit>} */
async function begin(again = true) {
  const answer = await fetch("visit", { cache: "no-store" });
  if (answer.status === 503) throw new Error(await answer.text());
  const lines = (await answer.text()).split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  const root = lines.map((line) => line.data?.["application/vnd.jupyter.widget-view+json"]?.model_id).find(Boolean);
  const failed = lines.find((line) => line.output_type === "error");
  if (!root && !failed && again) return begin(false); // what the first said was lost on its way
  if (!root) throw new Error(failed ? `${failed.ename}: ${failed.evalue}` : `The server answered ${answer.status} without a screen.`);
  return { kernel: lines[0].kernel, root };
}

async function main() {
  followSystem(new URLSearchParams(location.search).get("theme"));
  const place = own("main");
  own(".wb-notice button").addEventListener("click", () => {
    sessionStorage.removeItem(KEPT);
    location.reload();
  });
  const { mount } = await screenModule;
  /** @param {Visit} visit */
  const shown = (visit) => new Screen(visit, mount, (state) => say(NOTICES[state], state === "ended")).show(place);
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  if (kept && (await shown(kept))) return;
  const visit = await begin();
  sessionStorage.setItem(KEPT, JSON.stringify(visit));
  if (!(await shown(visit))) throw new Error("Its process started and does not answer.");
}

main().catch((error) => {
  own(".wb-waiting")?.remove();
  say(`The workbench could not be opened. ${error.message}`, true);
});

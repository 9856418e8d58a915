// The charts of a page that stands alone, such as a report: their specifications lie in it as JSON, nothing is fetched.
import { followSystem } from "./theme.js";
import { Plot } from "./vega.js";

/** @typedef {View.Drawing & { selected: string }} Chart */

// A mark leads to the part of the page that is about it, where there is one.
/** @param {string} id */
const lead = (id) => {
  if (document.getElementById(id)) location.hash = id;
};

/** @param {Element} figure */
function draw(figure) {
  const place = /** @type {HTMLElement} */ (figure.querySelector(".plot"));
  /** @type {Chart} */
  const wanted = JSON.parse(figure.querySelector("script")?.textContent ?? "");
  const plot = new Plot(place, { onPick: lead }, (error) => (place.textContent = `This chart cannot be drawn: ${error.message}`));
  plot.show(wanted);
}

// Draws every chart of the page; of one without any, such as a notebook, it changes nothing.
export function drawStandalone() {
  const figures = document.querySelectorAll("figure[data-workbench-chart]");
  if (!figures.length) return;
  followSystem();
  for (const figure of figures) draw(figure);
}

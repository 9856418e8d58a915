// What a word of the screen means, to be shown where the pointer rests on it.
import { TERMS } from "./terms.js";

/** @param {string} word A label, or an axis' title with its unit in brackets. @returns {string | undefined} */
export const about = (word) => TERMS[word.toLowerCase()] ?? TERMS[word.toLowerCase().replace(/ \([^()]*\)$/, "")];

// The same for the words in a chart, which Vega lets no pointer rest on.
/** @param {Element} chart */
export function explain(chart) {
  for (const text of chart.querySelectorAll(".role-axis-title text, .role-axis-label text, .role-legend-title text, .role-legend-label text")) {
    const said = about(text.firstChild?.nodeValue ?? "");
    if (said === undefined || text.querySelector("title")) continue;
    text.append(Object.assign(document.createElementNS("http://www.w3.org/2000/svg", "title"), { textContent: said }));
    /** @type {SVGElement} */ (text).style.pointerEvents = "auto";
  }
}

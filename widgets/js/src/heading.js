// A column's heading, which sorts its table.
import { about } from "./about.js";
import { following } from "./sorting.js";
import { html, useState } from "./ui.js";

/** @typedef {import("./sorting.js").Sort} Sort */

export const useSort = () => useState(/** @type {Sort} */ ({ column: null, down: false }));

/** @param {{ column: import("./sorting.js").Column, sort: Sort, setSort: (sort: Sort) => void }} props */
export const Heading = ({ column, sort, setSort }) => {
  const mine = sort.column === column.key;
  const state = mine ? (sort.down ? "descending" : "ascending") : undefined;
  return html`<th scope="col" aria-sort=${state} class=${column.numeric ? "wb-num" : ""}>
    <button type="button" title=${about(column.label)} onClick=${() => setSort(following(sort, column))}>
      ${column.label}<span class="wb-sort" aria-hidden="true">${mine ? (sort.down ? "▼" : "▲") : "↕"}</span>
    </button>
    ${column.unit && html`<small>${column.unit}</small>`}
  </th>`;
};

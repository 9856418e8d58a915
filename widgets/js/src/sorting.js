// A table's order: a column and a direction, chosen with the headings' buttons.
import { html, useState } from "./ui.js";

// `value` gives what a row has in a column; what is missing comes last in both directions.
export function sorted(rows, column, down, value) {
  if (column === null) return rows;
  const missing = (v) => v === null || v === undefined;
  return [...rows].sort((a, b) => {
    const [p, q] = [value(a, column), value(b, column)];
    if (missing(p) || missing(q)) return missing(p) - missing(q);
    return (p < q ? -1 : p > q ? 1 : 0) * (down ? -1 : 1);
  });
}

export const useSort = () => useState({ column: null, down: false });

// Numbers begin with the largest, names with A; a third press gives back the order of the rows themselves.
function following(sort, column) {
  const first = column.numeric;
  if (sort.column !== column.key) return { column: column.key, down: first };
  return sort.down === first ? { column: column.key, down: !first } : { column: null, down: false };
}

export const Heading = ({ column, sort, setSort }) => {
  const mine = sort.column === column.key;
  const state = mine ? (sort.down ? "descending" : "ascending") : undefined;
  return html`<th scope="col" aria-sort=${state} class=${column.numeric ? "wb-num" : ""}>
    <button type="button" onClick=${() => setSort(following(sort, column))}>
      ${column.label}<span class="wb-sort" aria-hidden="true">${mine ? (sort.down ? "▼" : "▲") : "↕"}</span>
    </button>
    ${column.unit && html`<small>${column.unit}</small>`}
  </th>`;
};

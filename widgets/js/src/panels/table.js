import { html, Section, useState } from "../ui.js";

function sorted(rows, column, down) {
  if (column === null) return rows;
  const value = (row) => row.cells[column].value;
  const missing = (v) => v === null || v === undefined;
  return [...rows].sort((a, b) => {
    const [p, q] = [value(a), value(b)];
    if (missing(p) || missing(q)) return missing(p) - missing(q); // always last
    return (p < q ? -1 : p > q ? 1 : 0) * (down ? -1 : 1);
  });
}

const Heading = ({ column, index, sort, setSort }) => {
  const mine = sort.column === index;
  const state = mine ? (sort.down ? "descending" : "ascending") : undefined;
  const next = { column: index, down: mine ? !sort.down : false };
  return html`<th scope="col" aria-sort=${state} class=${column.numeric ? "wb-num" : ""}>
    <button type="button" onClick=${() => setSort(next)}>
      ${column.label}<span class="wb-sort" aria-hidden="true">${mine ? (sort.down ? "▼" : "▲") : "↕"}</span>
    </button>
    ${column.unit && html`<small>${column.unit}</small>`}
  </th>`;
};

const Row = ({ row, columns, selected, send }) => html`
  <tr class="t-variant ${selected ? "wb-selected" : ""}" data-id=${row.id} onClick=${() => send("select", { id: row.id })}>
    <th scope="row">
      <button type="button" class="wb-pick" aria-pressed=${selected ? "true" : "false"}>
        <svg viewBox="-6 -6 12 12" width="12" height="12" aria-hidden="true"><path d=${row.mark.path} fill=${row.mark.colour} /></svg>
        ${row.name}
      </button>
      <span class="wb-hidden">${row.mark.label}</span>
    </th>
    ${row.cells.slice(1).map(
      (cell, i) => html`<td class=${columns[i + 1].numeric ? "wb-num" : ""}>
        ${cell.text}${cell.sub && html`<small>${cell.sub}</small>`}
      </td>`,
    )}
  </tr>`;

export const Table = ({ view, send }) => {
  const [sort, setSort] = useState({ column: null, down: false });
  const rows = sorted(view.rows, sort.column, sort.down);
  return html`
    <${Section} label="Table of variants">
      <div class="wb-scroll" tabindex="0" role="region" aria-label="Table of variants">
        <table class="wb-table t-table">
          <thead>
            <tr>${view.columns.map((c, i) => html`<${Heading} key=${c.key} column=${c} index=${i} sort=${sort} setSort=${setSort} />`)}</tr>
          </thead>
          <tbody>
            ${rows.map((row) => html`<${Row} key=${row.id} row=${row} columns=${view.columns} selected=${row.id === view.selected} send=${send} />`)}
          </tbody>
        </table>
      </div>
      ${rows.length === 0 && html`<p class="wb-empty">${view.empty}</p>`}
      <p class="wb-help">${view.note}</p>
    <//>`;
};

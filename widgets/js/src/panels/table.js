import { html, Section } from "../ui.js";
import { Heading, sorted, useSort } from "../sorting.js";

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
  const [sort, setSort] = useSort();
  const value = (row, key) => row.cells[view.columns.findIndex((c) => c.key === key)].value;
  const rows = sorted(view.rows, sort.column, sort.down, value);
  return html`
    <${Section} label="Table of variants">
      <div class="wb-scroll" tabindex="0" role="region" aria-label="Table of variants">
        <table class="wb-table t-table">
          <thead>
            <tr>${view.columns.map((c) => html`<${Heading} key=${c.key} column=${c} sort=${sort} setSort=${setSort} />`)}</tr>
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

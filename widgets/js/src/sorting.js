// A table's order: a column and a direction, chosen with the headings' buttons.

/** @typedef {{ column: string | number | null, down: boolean }} Sort */
/** @typedef {{ key: string | number, label: string, numeric: boolean, unit?: string }} Column */

// `value` gives what a row has in a column; what is missing comes last in both directions.
/**
 * @template Row
 * @template {string | number} Key
 * @param {Row[]} rows
 * @param {Key | null} column
 * @param {boolean} down
 * @param {(row: Row, column: Key) => string | number | null | undefined} value
 * @returns {Row[]}
 */
export function sorted(rows, column, down, value) {
  if (column === null) return rows;
  return [...rows].sort((a, b) => {
    const [p, q] = [value(a, column), value(b, column)];
    if (p == null || q == null) return Number(p == null) - Number(q == null);
    return (p < q ? -1 : p > q ? 1 : 0) * (down ? -1 : 1);
  });
}

// Numbers begin with the largest, names with A; a third press gives back the order of the rows themselves.
/** @param {Sort} sort @param {Column} column @returns {Sort} */
export function following(sort, column) {
  const first = column.numeric;
  if (sort.column !== column.key) return { column: column.key, down: first };
  return sort.down === first ? { column: column.key, down: !first } : { column: null, down: false };
}

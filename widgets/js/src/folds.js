// Which steps show their settings: a new one alone, since the column has room for one; after that as the user folds them.
/**
 * @param {string[]} open The keys of the steps that are unfolded.
 * @param {string[]} before The keys of all steps until now.
 * @param {string[]} keys The keys of all steps.
 * @param {number} focus The step that was touched last.
 */
export function unfolded(open, before, keys, focus) {
  const fresh = keys.filter((key) => !before.includes(key));
  if (fresh.length) return [fresh.length === 1 ? fresh[0] : keys[focus]];
  const left = open.filter((key) => keys.includes(key));
  return left.length || keys.length === before.length ? left : keys.slice(focus, focus + 1);
}

// Ctrl+Z takes back the last change of the recipe, wherever in the screen the focus is; what is being typed into a
// field, and was not passed on yet, is the field's own to take back.
/** @type {Record<string, "undo" | "redo">} */
const KEYS = { z: "undo", y: "redo", Z: "redo" };
const typed = new WeakSet(); // fields that hold something that was not passed on

/** @param {any} event */
function wanted(event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.defaultPrevented) return null;
  if (event.target.closest?.("textarea, [contenteditable]") || typed.has(event.target)) return null;
  return KEYS[event.key] ?? null;
}

// `el` is a panel of a screen; returns what stops it. A page without a notebook around has no focus of its own.
/** @param {HTMLElement} el @param {Send} send */
export function watchUndo(el, send) {
  /** @param {Element} node */
  const own = (node) => el.closest(".wb-screen")?.contains(node) || (node === document.body && !el.closest(".jp-Notebook"));
  /** @param {any} event */
  const begin = (event) => event.target.matches?.("input[type=text]") && typed.add(event.target);
  /** @param {any} event */
  const end = (event) => typed.delete(event.target);
  /** @param {any} event */
  const press = (event) => {
    if (event.key === "Enter") end(event);
    if (!own(event.target)) return;
    const action = wanted(event);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    send(action);
  };
  const on = { input: begin, change: end, focusout: end, keydown: press };
  for (const [name, then] of Object.entries(on)) document.addEventListener(name, then, true);
  return () => {
    for (const [name, then] of Object.entries(on)) document.removeEventListener(name, then, true);
  };
}

// Ctrl+Z takes back the last change of the recipe, wherever in the screen the focus is; what is being typed into a
// field, and was not passed on yet, is the field's own to take back.
const KEYS = { z: "undo", y: "redo", Z: "redo" };
const typed = new WeakSet(); // fields that hold something that was not passed on

function wanted(event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.defaultPrevented) return null;
  if (event.target.closest?.("textarea, [contenteditable]") || typed.has(event.target)) return null;
  return KEYS[event.key] ?? null;
}

// `el` is a panel of a screen; returns what stops it. A page without a notebook around has no focus of its own.
export function watchUndo(el, send) {
  const own = (node) => el.closest(".wb-screen")?.contains(node) || (node === document.body && !el.closest(".jp-Notebook"));
  const begin = (event) => event.target.matches?.("input[type=text]") && typed.add(event.target);
  const end = (event) => typed.delete(event.target);
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
  return () => Object.entries(on).forEach(([name, then]) => document.removeEventListener(name, then, true));
}

// How high the column beside the results may be: from where it begins to the lower end of what is seen of the page.
const EDGE = 8; // px that stay free above and below
const LEAST = 600; // px that it needs for a step, the prediction and Run

// The part of the window that is seen through an element's scrolling ancestors; of a notebook that is not all of it.
/** @param {Element} el @returns {{ top: number, bottom: number }} */
function seen(el) {
  for (let node = el.parentElement; node && node !== document.body; node = node.parentElement) {
    const box = node.getBoundingClientRect();
    if (/auto|scroll/.test(getComputedStyle(node).overflowY) && box.height < window.innerHeight) return box;
  }
  return { top: 0, bottom: window.innerHeight };
}

/** @param {{ top: number, bottom: number }} box @param {number} begins */
export const room = (box, begins) => Math.max(LEAST, box.bottom - EDGE - Math.max(box.top + EDGE, begins));

// `el` is a panel of the column; returns what stops it.
/** @param {HTMLElement} el */
export function watchRoom(el) {
  let asked = 0;
  const measure = () => {
    asked = 0;
    const column = /** @type {HTMLElement | null} */ (el.closest(".wb-edit"));
    const beside = column?.closest(".wb-grid")?.querySelector(".wb-results");
    if (column && beside) column.style.setProperty("--wb-room", `${room(seen(column), beside.getBoundingClientRect().top)}px`);
  };
  const ask = () => {
    asked ||= requestAnimationFrame(measure);
  };
  const watcher = new ResizeObserver(ask);
  watcher.observe(document.body);
  document.addEventListener("scroll", ask, { capture: true, passive: true });
  window.addEventListener("resize", ask);
  ask();
  return () => {
    cancelAnimationFrame(asked);
    watcher.disconnect();
    document.removeEventListener("scroll", ask, { capture: true });
    window.removeEventListener("resize", ask);
  };
}

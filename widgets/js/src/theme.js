// Vega's colours from the page's own, so that charts follow a light and a dark theme.
/** @param {Element} element @param {string} name @param {string} fallback */
function colour(element, name, fallback) {
  return getComputedStyle(element).getPropertyValue(name).trim() || fallback;
}

/** @param {Element} element */
export function vegaConfig(element) {
  const text = colour(element, "--jp-ui-font-color1", "#222");
  const muted = colour(element, "--jp-ui-font-color2", "#555");
  const line = colour(element, "--jp-border-color2", "#ddd");
  const font = getComputedStyle(element).fontFamily || "sans-serif";
  return {
    background: null,
    font,
    view: { stroke: null },
    axis: {
      labelColor: muted,
      titleColor: text,
      domainColor: line,
      tickColor: line,
      gridColor: line,
      gridOpacity: 0.6,
      labelFontSize: 12,
      titleFontSize: 12,
      titleFontWeight: 600,
      titlePadding: 10,
      labelPadding: 6,
    },
    legend: { labelColor: text, titleColor: text, labelFontSize: 12, offset: 10, symbolOpacity: 1 },
    text: { color: text, fontSize: 12 },
  };
}

// On a dark ground the darker of Okabe and Ito's colours are hard to see: the same hues, lighter.
/** @type {Record<string, string>} */
const LIGHTER = { "#0072b2": "#4aa3dc", "#767676": "#a6a6a6", "#d55e00": "#f08a45", "#009e73": "#2fc79b" };

export const isDark = () => document.body.dataset.jpThemeLight === "false";
/** @param {string} text @returns {string} */
export const onGround = (text) => (isDark() ? text.replace(/#[0-9a-f]{6}/g, (colour) => LIGHTER[colour] ?? colour) : text);

// What a chart takes from the page, as one text: where it differs, the chart has to be drawn anew.
/** @param {Element} element */
export const look = (element) => JSON.stringify([vegaConfig(element), isDark()]);

// Calls `then` whenever the page's look may have changed; returns what stops it. Colours come from style sheets, which
// hosts load after what they hold, or exchange, and from attributes of the page's root and body.
/** @param {() => void} then */
export function onLook(then) {
  const observer = new MutationObserver(then);
  for (const root of [document.documentElement, document.body]) observer.observe(root, { attributes: true });
  observer.observe(document.head, { childList: true, subtree: true, characterData: true });
  /** @param {Event} event */
  const loaded = (event) => event.target instanceof HTMLLinkElement && then();
  document.addEventListener("load", loaded, { capture: true });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", then);
  return () => {
    observer.disconnect();
    document.removeEventListener("load", loaded, { capture: true });
    dark.removeEventListener("change", then);
  };
}

// A page of its own is light or dark as the system is, unless `asked` says which.
/** @param {string | null} [asked] */
export function followSystem(asked) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    document.body.dataset.jpThemeLight = (asked ? asked === "dark" : system.matches) ? "false" : "true";
  };
  follow();
  system.addEventListener("change", follow);
}

// Vega's colours from the page's own, so that charts follow a light and a dark theme.
function colour(element, name, fallback) {
  return getComputedStyle(element).getPropertyValue(name).trim() || fallback;
}

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

// Calls `then` whenever the page changes between light and dark; returns what stops it.
export function onTheme(then) {
  const observer = new MutationObserver(then);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  return () => observer.disconnect();
}

// Draws the panel that a widget model asks for, and draws it again whenever its view changes.
import { html, render, Section, useEffect, useErrorBoundary } from "./ui.js";
import { BesidePanel } from "./panels/beside.js";
import { ChartPanel } from "./panels/chart.js";
import { DiagnosisPanel } from "./panels/diagnosis.js";
import { Head } from "./panels/head.js";
import { Layers } from "./panels/layers.js";
import { Models } from "./panels/models.js";
import { Prediction } from "./panels/prediction.js";
import { RecipePanel } from "./panels/recipe.js";
import { Run } from "./panels/run.js";
import { SearchPanel } from "./panels/search.js";
import { Status } from "./panels/status.js";
import { Table } from "./panels/table.js";
import { VariantPanel } from "./panels/variant.js";
import { watchRoom } from "./room.js";
import { watchUndo } from "./undo.js";

/** @type {{ [Name in keyof View.Panels]: (props: Props<Name>) => any }} */
const PANELS = {
  head: Head,
  models: Models,
  recipe: RecipePanel,
  prediction: Prediction,
  run: Run,
  search: SearchPanel,
  chart: ChartPanel,
  table: Table,
  beside: BesidePanel,
  variant: VariantPanel,
  layers: Layers,
  diagnosis: DiagnosisPanel,
  status: Status,
};

/** @typedef {{ failed?: string, chosen_id: string, lost: string }} Shown What every panel's view has beside its own. */

// A panel behind its own guard: where its view could not be made or cannot be drawn, a sentence stands in its place
// until the next view comes, or until the user asks for it, and the other panels go on.
/** @param {{ name: keyof View.Panels, view: Shown, send: Send, model: WidgetModel }} props */
const Guarded = ({ name, view, send, model }) => {
  const [error, again] = useErrorBoundary((caught) => console.warn(`workbench: the panel ${name} was not drawn`, caught));
  useEffect(() => void (error && again()), [view]);
  const failed = view.failed || (error && `This part cannot be drawn (${error.message}). The others go on, and nothing measured is lost.`);
  const retry = () => (view.failed ? send("again") : again());
  if (failed)
    return html`<${Section} label=${name}>
      <p class="wb-problem t-failed" role="alert">${failed}</p>
      <button type="button" class="wb-small t-again" onClick=${retry}>Show it again</button>
    <//>`;
  return html`<${PANELS[name]} view=${view} send=${send} model=${model} />`;
};

const ENDED =
  "The kernel behind this screen has ended, and nothing here answers any more. Run the cell again: variants that are kept in a folder, as the region of the model says, are there again.";
const LOST =
  "The connection to the kernel is lost, and the notebook tries again. What runs goes on there unless the server or its machine was stopped.";

// In a notebook: tells `say` when the kernel is gone or out of reach. The dashboard's page says it by itself.
/** @param {WidgetModel} model @param {(text: string) => void} say */
function watchKernel(model, say) {
  const kernel = model.widget_manager?.kernel;
  let over = false;
  /** @param {unknown} _ @param {string} status */
  const ended = (_, status) => {
    over ||= ["dead", "terminating", "restarting", "autorestarting"].includes(status);
    if (over) say(ENDED);
  };
  /** @param {unknown} _ @param {string} status */
  const linked = (_, status) => !over && say(status === "connected" ? "" : LOST);
  kernel?.statusChanged?.connect(ended);
  kernel?.connectionStatusChanged?.connect(linked);
  return () => {
    kernel?.statusChanged?.disconnect(ended);
    kernel?.connectionStatusChanged?.disconnect(linked);
  };
}

// The same, and when a panel of this screen finds that nothing can be sent any more.
/** @param {WidgetModel} model @param {HTMLElement} el @param {(text: string) => void} say */
function watch(model, el, say) {
  const unwatch = watchKernel(model, say);
  /** @param {Element} node */
  const screen = (node) => node.closest(".wb-screen");
  /** @param {any} event */
  const ended = (event) => screen(event.target) === screen(el) && say(ENDED);
  document.addEventListener("wb-ended", ended);
  return () => {
    unwatch();
    document.removeEventListener("wb-ended", ended);
  };
}

/** @param {HTMLElement} el @param {Send} send */
function watchRecipe(el, send) {
  const stops = [watchUndo(el, send), watchRoom(el)];
  return () => {
    for (const stop of stops) stop();
  };
}

/** @param {WidgetModel} model @param {HTMLElement} el */
export function mount(model, el) {
  const name = model.get("panel");
  el.classList.add("wb-panel", `wb-p-${name}`);
  // Else JupyterLab takes arrow keys, letters and Enter from a focused control as its own commands. It looks
  // at the focused element first, so the mark must be on that one.
  el.addEventListener("focusin", (event) => /** @type {Element} */ (event.target).setAttribute("data-lm-suppress-shortcuts", "true"));
  let lost = "";
  /** @param {string} action @param {object} [detail] */
  const tell = (action, detail = {}) => {
    try {
      model.send({ action, ...detail });
    } catch {
      // The widget's channel is closed, since its kernel was restarted or shut down: the screen's head says so.
      el.dispatchEvent(new CustomEvent("wb-ended", { bubbles: true }));
    }
  };
  const send = /** @type {Send} */ (tell);
  const draw = () => {
    const view = { ...model.get("view"), chosen_id: model.get("selected"), lost };
    render(html`<${Guarded} name=${name} view=${view} send=${send} model=${model} />`, el);
  };
  model.on("change:view change:selected", draw);
  draw();
  /** @param {string} text */
  const say = (text) => {
    lost = text;
    draw();
  };
  const unwatch = name === "head" ? watch(model, el, say) : name === "recipe" ? watchRecipe(el, send) : () => {};
  return () => {
    unwatch();
    model.off("change:view change:selected", draw);
    render(null, el);
  };
}

// Draws the panel that a widget model asks for, and draws it again whenever its view changes.
import { html, render } from "./ui.js";
import { ChartPanel } from "./panels/chart.js";
import { DiagnosisPanel } from "./panels/diagnosis.js";
import { Head } from "./panels/head.js";
import { Layers } from "./panels/layers.js";
import { Models } from "./panels/models.js";
import { Prediction } from "./panels/prediction.js";
import { RecipePanel } from "./panels/recipe.js";
import { Run } from "./panels/run.js";
import { Status } from "./panels/status.js";
import { Table } from "./panels/table.js";
import { VariantPanel } from "./panels/variant.js";

const PANELS = {
  head: Head,
  models: Models,
  recipe: RecipePanel,
  prediction: Prediction,
  run: Run,
  chart: ChartPanel,
  table: Table,
  variant: VariantPanel,
  layers: Layers,
  diagnosis: DiagnosisPanel,
  status: Status,
};

export function mount(model, el) {
  const name = model.get("panel");
  el.classList.add("wb-panel", `wb-p-${name}`);
  // Else JupyterLab takes arrow keys, letters and Enter from a focused control as its own commands. It looks
  // at the focused element first, so the mark must be on that one.
  el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  const send = (action, detail = {}) => model.send({ action, ...detail });
  const draw = () => {
    const view = { ...model.get("view"), chosen_id: model.get("selected") };
    render(html`<${PANELS[name]} view=${view} send=${send} model=${model} />`, el);
  };
  model.on("change:view change:selected", draw);
  draw();
  return () => {
    model.off("change:view change:selected", draw);
    render(null, el);
  };
}

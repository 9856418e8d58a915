// One Vega view in an element: draws a specification once and patches its data and parameters after that.
import embed from "vega-embed";
import { changeset, Error as ERROR } from "vega";
import { onGround, onTheme, vegaConfig } from "./theme.js";

// From the rows that are drawn to others: where the same marks stay, only the values that differ are changed,
// which spares Vega to lay out everything anew; a slider waits for this.
function difference(drawn, rows) {
  const same = rows.length === drawn.length && rows.every((row, n) => row.id !== undefined && row.id === drawn[n].id);
  if (!same) return changeset().remove(() => true).insert(structuredClone(rows));
  const changes = changeset();
  rows.forEach((row, n) => {
    for (const [key, value] of Object.entries(row)) if (drawn[n][key] !== value) changes.modify(drawn[n], key, value);
  });
  return changes;
}

export class Plot {
  // `onDrawn` is given the view and its specification as JSON whenever its scales may have moved, and null when
  // nothing is drawn.
  constructor(element, onPick, onDrawn = () => {}) {
    this.element = element;
    this.onPick = onPick;
    this.onDrawn = onDrawn;
    this.turn = Promise.resolve();
    this.wanted = null;
    this.stopTheme = onTheme(() => this.queue(true));
  }

  // `view` holds spec, rows, selected and summary, as widgets/views.py makes them.
  show(view) {
    this.wanted = view;
    this.queue(false);
  }

  // Other values of one field, in the order of the rows that are wanted.
  move(field, values) {
    if (this.wanted?.rows.length !== values.length) return; // of another chart: its rows are on their way
    this.show({ ...this.wanted, rows: this.wanted.rows.map((row, n) => ({ ...row, [field]: values[n] })) });
  }

  // Drawings come one after another; each takes what is wanted by then.
  queue(again) {
    this.turn = this.turn.then(() => this.draw(again)).catch((error) => console.error("workbench chart", error));
  }

  async draw(again) {
    const { spec, rows, selected, summary } = this.wanted ?? {};
    if (!spec) return;
    if (!rows.length) return this.clear(); // axes without a value would only mislead
    const text = JSON.stringify(spec);
    if (again || text !== this.drawn) await this.embed(spec, rows, text);
    else if (rows !== this.rows) this.view.change(spec.data.name, difference(this.view.data(spec.data.name), rows));
    this.rows = rows;
    if (selected !== undefined) this.view.signal("selected", selected);
    await this.view.runAsync();
    this.onDrawn(this.view, this.drawn);
    const svg = this.element.querySelector("svg");
    svg?.setAttribute("role", "img");
    svg?.setAttribute("aria-label", summary);
    svg?.querySelector("g")?.setAttribute("aria-hidden", "true");
  }

  clear() {
    this.result?.finalize();
    this.element.replaceChildren();
    this.drawn = null;
    this.rows = null;
    this.onDrawn(null);
  }

  async embed(spec, rows, text) {
    this.result?.finalize();
    this.onDrawn(null);
    // Warnings would tell the console of every group that has no mark yet.
    const look = { renderer: "svg", config: vegaConfig(this.element), logLevel: ERROR };
    const options = { actions: false, mode: "vega-lite", ...look };
    this.result = await embed(this.element, { ...JSON.parse(onGround(text)), data: { ...spec.data, values: structuredClone(rows) } }, options);
    this.view = this.result.view;
    this.drawn = text;
    this.view.addResizeListener(() => this.onDrawn(this.view, text));
    this.view.addEventListener("click", (_, item) => item?.datum?.id && this.onPick(item.datum.id));
  }

  finalize() {
    this.stopTheme();
    this.turn = this.turn.then(() => this.result?.finalize());
  }
}

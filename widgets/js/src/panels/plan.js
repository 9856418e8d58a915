import { html, useState } from "../ui.js";

const Line = ({ row }) => html`
  <tr class=${row.applies ? "" : "wb-left-alone"}>
    <td>${row.step}</td>
    <th scope="row">${row.layer}</th>
    <td>${row.kind}</td>
    <td>${row.action}</td>
    <td class="wb-num">${row.macs}</td>
    <td class="wb-num">${row.params}</td>
    <td class="wb-num">${row.error}</td>
  </tr>`;

export const Plan = ({ view }) => {
  const [all, setAll] = useState(false);
  const rows = all ? view.rows : view.rows.filter((row) => row.applies);
  const apart = view.rows.some((row) => !row.applies) && view.rows.some((row) => row.applies);
  if (!view.rows.length) return null;
  return html`
    <section class="wb-card" aria-label="What the recipe will do, layer by layer">
      <details class="wb-plan t-plan" open>
        <summary><h2>Layer by layer</h2><span class="wb-muted">${view.summary}</span></summary>
        ${apart &&
        html`<label class="wb-check"><input type="checkbox" checked=${all} onChange=${(e) => setAll(e.target.checked)} /> Show the layers left alone, and why</label>`}
        <div class="wb-scroll wb-plan-scroll" tabindex="0" role="region" aria-label="Plan by layer">
          <table class="wb-table">
            <thead>
              <tr>
                <th scope="col">Step</th><th scope="col">Layer</th><th scope="col">Kind</th><th scope="col">What happens</th>
                <th scope="col" class="wb-num">MACs</th><th scope="col" class="wb-num">Parameters</th>
                <th scope="col" class="wb-num">Weight error</th>
              </tr>
            </thead>
            <tbody>${(apart ? rows : view.rows).map((row) => html`<${Line} key=${row.key} row=${row} />`)}</tbody>
          </table>
        </div>
      </details>
    </section>`;
};

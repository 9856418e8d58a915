import { about } from "../about.js";
import { html, Section } from "../ui.js";

/** @param {{ row: View.PredictedRow }} props */
const Line = ({ row }) => html`
  <tr class="t-predicted-${row.name}" style="--share: ${row.share}%">
    <th scope="row" title=${about(row.label)}>${row.label}</th>
    <td class="wb-num">${row.before}</td>
    <td class="wb-num wb-strong">${row.after}</td>
    <td class="wb-num ${row.trend}">${row.change}</td>
  </tr>`;

/** @param {Props<"prediction">} props */
export const Prediction = ({ view }) => html`
  <${Section} label="Predicted, before anything runs">
    <table class="wb-prediction t-prediction">
      <thead>
        <tr><th scope="col"><h2>Predicted</h2></th><th scope="col">Original</th><th scope="col">Recipe</th><th scope="col">Change</th></tr>
      </thead>
      <tbody>${view.rows.map((row) => html`<${Line} key=${row.label} row=${row} />`)}</tbody>
    </table>
    <p class="wb-help">${view.note}</p>
  <//>`;

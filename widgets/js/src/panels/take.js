// What is made when it is asked for: the table, or the whole study, as a file.
import { download } from "../download.js";
import { html, useState } from "../ui.js";

/** @type {Record<string, string>} */
const WORDS = { csv: "CSV", parquet: "Parquet", html: "Report", md: "Model card" };

/** @param {{ files: string[], model: WidgetModel, label?: string }} props */
export const Take = ({ files, model, label = "Take away as" }) => {
  const [said, setSaid] = useState("");
  /** @param {string} file */
  const take = async (file) => {
    setSaid(`Making ${file}`);
    try {
      await download(model, file, null, () => {});
      setSaid(`${file} is saved`);
    } catch (error) {
      setSaid(/** @type {Error} */ (error).message);
    }
  };
  return html`<span class="wb-take">
    <span class="wb-muted">${label}</span>
    ${files.map((file) => html`<button type="button" class="wb-small t-take-${file.split(".")[1]}" onClick=${() => take(file)}>${WORDS[file.split(".")[1]]}</button>`)}
    <span class="wb-muted" role="status">${said}</span>
  </span>`;
};

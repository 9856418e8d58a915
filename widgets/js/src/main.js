// The page's one module. It is loaded once; every panel waits for it under the same name.
import { mount } from "./mount.js";
import { drawStandalone } from "./standalone.js";

const key = `workbench-screen-${__VERSION__}`;
/** @type {Record<string, any>} */
const page = globalThis;
if (!page[key]) {
  let ready;
  const promise = new Promise((resolve) => (ready = resolve));
  page[key] = { promise, ready };
}
page[key].ready({ mount });
drawStandalone();

export { mount };
export default { render() {} };

// The page's one module. It is loaded once; every panel waits for it under the same name.
import { mount } from "./mount.js";

const key = `workbench-screen-${__VERSION__}`;
if (!globalThis[key]) {
  let ready;
  const promise = new Promise((resolve) => (ready = resolve));
  globalThis[key] = { promise, ready };
}
globalThis[key].ready({ mount });

export { mount };
export default { render() {} };

// Builds ../workbench_widgets/static/screen.js (one ES module: Vega, Preact and the panels), the dashboard's page.js, and the notices of
// what is inside them; or all that in another folder: node build.mjs FOLDER
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "workbench_widgets", "static");

// What the committed bundle was made from; a test compares it with the sources.
function files(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)]))
    .map((path) => relative(here, path).replaceAll("\\", "/"));
}
const sources = [...files(join(here, "src")), "package-lock.json"].sort();
const digest = createHash("sha256");
for (const path of sources) digest.update(`${path}\0${readFileSync(join(here, path), "utf8")}\0`);
const version = digest.digest("hex").slice(0, 16);

mkdirSync(out, { recursive: true });
const result = await build({
  entryPoints: [join(here, "src", "main.js")],
  outfile: join(out, "screen.js"),
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  charset: "utf8",
  legalComments: "none", // the notices of every package stand in THIRD-PARTY.txt
  define: { __VERSION__: JSON.stringify(version) },
  banner: { js: `/* sources ${version}; licences in THIRD-PARTY.txt */` },
  metafile: true,
  logLevel: "info",
});
// The dashboard's own page; it imports the module above.
const page = await build({
  entryPoints: [join(here, "src", "page", "page.js")],
  outfile: join(out, "page.js"),
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: `/* sources ${version} */` },
  metafile: true,
});

const used = new Set();
for (const path of Object.keys({ ...result.metafile.inputs, ...page.metafile.inputs })) {
  const found = path.replaceAll("\\", "/").match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)/);
  if (found) used.add(found[0]);
}
const notices = [...used].sort().map((folder) => {
  const { name, version: release, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const own = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const file = own ? join(folder, own) : /^@(jupyterlab|lumino)\//.test(name) && join(here, "licences", "jupyter.txt");
  if (!file) throw new Error(`${name} ships no licence text`); // as Jupyter's packages, whose projects have it
  return `${name} ${release} (${license})\n\n${readFileSync(file, "utf8").trim()}\n`;
});
const rule = `\n${"-".repeat(80)}\n\n`;
const head = "screen.js and page.js contain the following packages, each under the licence that follows its name.\n";
writeFileSync(join(out, "THIRD-PARTY.txt"), [head, ...notices].join(rule));
for (const name of ["screen.css", "page/page.css", "page/index.html"]) {
  writeFileSync(join(out, name.split("/").pop()), readFileSync(join(here, "src", name)));
}
console.log(`${notices.length} packages, version ${version}`);

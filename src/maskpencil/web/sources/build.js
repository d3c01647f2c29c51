/**
 * Bundle the pages into a folder, of which maskpencil.page and maskpencil.server make documents: node build.js FOLDER
 */
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { constants, gzipSync } from "node:zlib";

import { build } from "esbuild";

const MODULES = "node_modules";
const ORT = join(MODULES, "onnxruntime-web");
const out = process.argv[2];
mkdirSync(out, { recursive: true });

/** The settings that all bundles share. The comments with licenses stay in the code. */
const shared = { bundle: true, minify: true, target: "es2022", legalComments: "inline", charset: "ascii", logLevel: "warning" };

/** The WebAssembly of each kind of worker: with WebGPU, and for the processor alone. */
const kinds = { webgpu: "ort-wasm-simd-threaded.asyncify.wasm", wasm: "ort-wasm-simd-threaded.wasm" };

for (const [entry, name] of [["main", "page"], ["server", "server"]]) {
  await build({ ...shared, entryPoints: [`src/${entry}.js`], outfile: join(out, `${name}.js`), format: "iife" });
}
for (const [kind, file] of Object.entries(kinds)) {
  const alias = { "onnxruntime-web/webgpu": `onnxruntime-web/${kind}` };
  const bundled = await build({
    ...shared,
    entryPoints: ["src/worker.js"],
    alias,
    format: "iife",
    write: false,
    logOverride: { "empty-import-meta": "silent" }, // in a worker made from a Blob there is no address to import from
  });
  writeFileSync(join(out, `worker-${kind}.js.gz`), packed(bundled.outputFiles[0].contents));
  // in a folder on a server, threads load the runtime's own file again
  const runtime = `ort.${kind}.bundle.min.mjs`;
  await build({
    ...shared,
    entryPoints: ["src/worker.js"],
    outfile: join(out, `site-worker-${kind}.js`),
    format: "esm",
    external: [`./${runtime}`],
    alias: { "onnxruntime-web/webgpu": `./${runtime}` },
  });
  copyFileSync(join(ORT, "dist", runtime), join(out, runtime));
  writeFileSync(join(out, `${kind}.wasm.gz`), packed(readFileSync(join(ORT, "dist", file))));
}
for (const name of ["index.html", "style.css", "server.html", "server.css"]) copyFileSync(name, join(out, name));
cpSync("parts", join(out, "parts"), { recursive: true });
const licenses = ["onnxruntime-web", "mediabunny"].map((name) => {
  const { version, license } = JSON.parse(readFileSync(join(MODULES, name, "package.json"), "utf8"));
  return { name, version, license, text: readFileSync(join("licenses", `${name}.txt`), "utf8") };
});
writeFileSync(join(out, "licenses.json"), JSON.stringify(licenses));

/** @param {Uint8Array} bytes */
function packed(bytes) {
  return gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION });
}

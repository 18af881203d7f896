// `fairlead controller`: reads its configuration, finds the API server, and serves until it is told to stop.

import { readFile } from "node:fs/promises";
import { parseConfig } from "../base/config.ts";
import { Fault } from "../base/fault.ts";
import { createLog } from "../base/log.ts";
import { openKube } from "../kube/open.ts";
import { controllerConfigSchema } from "./config.ts";
import { serve } from "./serve.ts";

/** Runs `fairlead controller`: reads the file, prints what it understood, serves until SIGTERM or SIGINT. */
export async function runController({ configFile, version }: { configFile: string; version: string }): Promise<void> {
  const text = await readFile(configFile, "utf8").catch((cause: unknown) => {
    throw new Fault("bad-config", `cannot read the configuration ${configFile}`, { cause });
  });
  const config = parseConfig(controllerConfigSchema, text, configFile);
  const log = createLog("fairlead-controller", { level: config.log.level });
  log.info({ version, config }, "configuration");
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(name));
  const kube = openKube(config.kubernetes, { userAgent: `fairlead-controller/${version}`, log });
  try {
    await serve({ config, kube, log, version, signal: stop.signal });
  } finally {
    await kube.close();
  }
}

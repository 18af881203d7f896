// `fairlead agent`: reads its configuration, refuses a machine that cannot do it, and serves until it is told to stop.

import { readFile } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import { fileURLToPath } from "node:url";
import { parseConfig } from "../base/config.ts";
import { Fault } from "../base/fault.ts";
import { createLog, type Log } from "../base/log.ts";
import { loadAddon } from "../kernel/addon.ts";
import { probeMachine } from "../kernel/features.ts";
import { openKernel } from "../kernel/kernel.ts";
import { openKube } from "../kube/open.ts";
import { type AgentConfig, agentConfigSchemaFor, hasIpv6 } from "./config.ts";
import { type Probes, serveProbes } from "./probes.ts";
import { serve } from "./serve.ts";
import { statusSocket } from "./status.ts";
import { uninstall } from "./uninstall.ts";

export interface RunOptions {
  configFile: string;
  version: string;
  /** Where the file need not say it: one file serves all nodes then. */
  nodeName?: string;
}

/** Runs `fairlead agent`: reads the file, prints what it understood, serves until SIGTERM or SIGINT. */
export async function runAgent({ version, ...given }: RunOptions): Promise<void> {
  const config = await readConfig(given);
  const log = createLog("fairlead-agent", { level: config.log.level });
  log.info({ version, config }, "configuration");
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(name));
  await refuseUnfitMachine(config, log);
  const kube = config.kubernetes && openKube(config.kubernetes, { userAgent: `fairlead-agent/${version}`, log });
  const kernel = openKernel({ log });
  const addon = loadAddon();
  let probes: Probes | undefined;
  try {
    if (config.probes !== undefined) {
      probes = await serveProbes({ ...config.probes, statusSocket: statusSocket(config.paths.socket) });
    }
    await serve({
      config,
      kernel,
      ...(kube === undefined ? {} : { kube }),
      log,
      version,
      shim: fileURLToPath(new URL("../../build/fairlead-cni", import.meta.url)),
      door: addon,
      releaseProgram: (part, of) => addon.releaseProgram(part, of),
      signal: stop.signal,
      // Written when a program ends in order, which an agent may never do.
      onServing: flushCompileCache,
    });
  } finally {
    kernel.close();
    await kube?.close();
    await probes?.stop();
  }
}

/** Runs `fairlead uninstall`; gives what was removed. @throws Fault as `uninstall` */
export async function runUninstall({ force, version, ...given }: RunOptions & { force: boolean }): Promise<string[]> {
  const config = await readConfig(given);
  const log = createLog("fairlead-uninstall", { level: config.log.level });
  log.debug({ version }, "uninstalling");
  const kernel = openKernel({ log });
  try {
    return await uninstall({ config, kernel, log, force });
  } finally {
    kernel.close();
  }
}

async function readConfig({ configFile, nodeName }: Omit<RunOptions, "version">): Promise<AgentConfig> {
  const text = await readFile(configFile, "utf8").catch((cause: unknown) => {
    throw new Fault("bad-config", `cannot read the configuration ${configFile}`, { cause });
  });
  const config = parseConfig(agentConfigSchemaFor(nodeName), text, configFile);
  if (nodeName !== undefined && config.node.name !== nodeName) {
    throw new Fault(
      "bad-config",
      `${configFile} says node.name ${config.node.name}, --node-name says ${nodeName}; leave one of them out`,
    );
  }
  return config;
}

/** @throws Fault "machine-unfit": the first thing that this machine lacks, and what to do; what comes after often hangs on it. */
async function refuseUnfitMachine(config: AgentConfig, log: Log): Promise<void> {
  const reports = await probeMachine({ ipv6: hasIpv6(config.addresses.blocks) });
  const lacking = reports.filter(({ ok }) => !ok);
  const first = lacking.find(({ needed }) => needed);
  if (first !== undefined) throw new Fault("machine-unfit", first.message);
  for (const { feature, message } of lacking) log.info({ feature }, message);
}

// An agent in a process of its own that ends where it is told to: the real one, on the real kernel, in a namespace of a test.

import { readSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { agentConfigSchema } from "../../src/agent/config.ts";
import { serve } from "../../src/agent/serve.ts";
import { parseConfig } from "../../src/base/config.ts";
import { describe } from "../../src/base/fault.ts";
import { silentLog } from "../../src/base/log.ts";
import { uptimeMs } from "../../src/base/uptime.ts";
import { type Addon, loadAddon } from "../../src/kernel/addon.ts";
import { openKernel } from "../../src/kernel/kernel.ts";
import { crossAddon, crossConnections, crossStatements, failureOf, isForCaller, isReaper } from "./crossing.ts";
import { createMortal, type Fate } from "./death.ts";

/** What the program is started with, as JSON in its one argument. */
export interface AgentSpec {
  /** Path of the node's namespace. */
  nodeNetns: string;
  /** The agent's configuration file, as text. */
  config: string;
  /** Its clock for cooling is ahead of the machine's by so much. */
  aheadMs: number;
  /** Its wall clock is, back where that is negative. */
  jumpedMs: number;
  /** Counted from the first call of the start. */
  fate?: Fate;
}

/** What it is told while it runs, one JSON a line on stdin. */
export type Command =
  /** Counts calls from here on. Answered by "decided". */
  | { do: "decide"; fate?: Fate }
  /** Lifts the fate, in one with counting what it has seen: no call can come between. Answered by "calls". */
  | { do: "lift" }
  /** Links that wait for their removal stay, as if the kernel were too busy for it. Answered by "decided". */
  | { do: "refuse-removals" }
  /** Its clock for cooling goes on from there. Answered by "decided". */
  | { do: "advance"; ms: number }
  /** Its wall clock jumps, back where that is negative. Answered by "decided". */
  | { do: "jump"; ms: number }
  /** Ends the agent in order, not the process. Answered by "stopped". */
  | { do: "stop" }
  /** Starts another one in the same process. Answered by "serving" or "failed"; the process stays. */
  | { do: "start"; fate?: Fate };

/** What it says, one JSON a line on stdout. */
export type AgentEvent =
  | { event: "serving" }
  | { event: "decided" }
  | { event: "calls"; calls: number; takenOver: boolean }
  | { event: "stopped" }
  | { event: "failed"; error: string }
  /** The call that its fate names: the last one, or the one that waits until a byte comes on descriptor 3. */
  | { event: "reached"; name: string; takenOver: boolean };

const shim = fileURLToPath(new URL("../../build/fairlead-cni", import.meta.url));
const holdDescriptor = 3;

const say = (event: AgentEvent): void => void writeSync(1, `${JSON.stringify(event)}\n`);

const mortal = createMortal({
  end: () => process.kill(process.pid, "SIGKILL"),
  hold: () => void readSync(holdDescriptor, Buffer.alloc(1)),
  reached: (name) => say({ event: "reached", name, takenOver: mortal.takenOver() }),
  is: { callers: isForCaller, reaper: isReaper },
  failure: failureOf,
});

let removalsRefused = false;
let aheadMs = 0;
let jumpedMs = 0;
const { now: wallClock } = Date;
Date.now = () => wallClock() + jumpedMs;

function createAddon(): Addon {
  const addon = loadAddon();
  const { call } = addon;
  const busy = Object.assign(new Error("refused by the test"), { code: "EAGAIN" });
  return crossAddon(
    { ...addon, call: (lane, ...rest) => (removalsRefused && lane === 2 ? Promise.reject(busy) : call(lane, ...rest)) },
    mortal.crossing,
  );
}

let stop = new AbortController();

async function live({ nodeNetns, config, fate }: AgentSpec): Promise<void> {
  stop = new AbortController();
  removalsRefused = false;
  mortal.decide(fate);
  const addon = createAddon();
  const kernel = openKernel({ nodeNetns, addon, log: silentLog() });
  try {
    await serve({
      config: parseConfig(agentConfigSchema, config, "test configuration"),
      kernel,
      log: silentLog(),
      version: "test",
      shim,
      door: addon,
      rehearsal: false,
      uptime: () => uptimeMs() + aheadMs,
      signal: stop.signal,
      onServing: () => say({ event: "serving" }),
    });
  } finally {
    kernel.close();
  }
  say({ event: "stopped" });
}

/** Ends the process by itself once the agent in it has ended. */
function finish(): void {
  stop.abort("finish");
  process.stdin.destroy();
}

/** `stays`: the process goes on where the agent cannot serve. */
function begin(spec: AgentSpec, stays = false): void {
  live(spec).catch((error: unknown) => {
    if (mortal.dying()) return;
    say({ event: "failed", error: describe(error) });
    if (stays) return;
    process.exitCode = 1;
    finish();
  });
}

function obey(command: Command, spec: AgentSpec): void {
  switch (command.do) {
    case "decide":
      mortal.decide(command.fate);
      return say({ event: "decided" });
    case "lift":
      if (mortal.dying()) return; // its end is the answer
      mortal.lift();
      return say({ event: "calls", calls: mortal.calls(), takenOver: mortal.takenOver() });
    case "refuse-removals":
      removalsRefused = true;
      return say({ event: "decided" });
    case "advance":
      aheadMs += command.ms;
      return say({ event: "decided" });
    case "jump":
      jumpedMs += command.ms;
      return say({ event: "decided" });
    case "stop":
      return stop.abort("told so");
    case "start": {
      const { fate } = command;
      const { fate: _earlier, ...given } = spec;
      return begin({ ...given, ...(fate === undefined ? {} : { fate }) }, true);
    }
    default:
      return command satisfies never;
  }
}

const spec = JSON.parse(process.argv[2] ?? "") as AgentSpec;
({ aheadMs, jumpedMs } = spec);
crossStatements(() => mortal.crossing);
crossConnections(() => (isForCaller() ? mortal.crossing : undefined));
Error.stackTraceLimit = 50;
process.on("uncaughtException", (error) => {
  if (mortal.dying()) return; // nobody is there any more to be told
  throw error;
});
process.once("SIGTERM", finish);
createInterface({ input: process.stdin })
  .on("line", (line) => obey(JSON.parse(line) as Command, spec))
  .on("close", finish);
begin(spec);

// Long-lived programs of a lab (agents, echo servers): recorded before they start, told when they are ready, ended by pid and start time.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { Fault } from "../src/base/fault.ts";
import { inNetns } from "./exec.ts";
import { endProcesses, formatProcessId, isAlive, processId, type ProcessId } from "./process.ts";
import type { Lab } from "./record.ts";

export interface DaemonOptions {
  /** What it is, for record and messages: "agent node-1". */
  name: string;
  netns: string;
  program: string;
  args: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** Its stdout and stderr are appended here. */
  logFile: string;
  /** True where the program closes descriptor 3 once it is ready (see `untilReady`). */
  tellsReady?: boolean;
}

export interface Daemon {
  readonly name: string;
  readonly id: ProcessId;
  readonly logFile: string;
  alive(): boolean;
  /** Settles when the program has closed descriptor 3; rejects where it ended before, or after `withinMs`. */
  untilReady(withinMs: number): Promise<void>;
  /** SIGTERM, up to `graceMs`, then SIGKILL; 0 = SIGKILL at once. Gives the exit code, or the signal that ended it. */
  end(graceMs: number): Promise<number | NodeJS.Signals>;
}

/** Starts a program in a namespace, in a session of its own: a terminal's ^C reaches the lab's maker only, which then ends it in order. */
export async function startDaemon(lab: Lab, options: DaemonOptions): Promise<Daemon> {
  const { name, netns, program, args, env = {}, logFile, tellsReady = false } = options;
  const recordId = lab.intend("process", name);
  const log = openSync(logFile, "a", 0o600);
  const [file, argv] = inNetns(netns, program, args);
  const child = spawn(file, argv, {
    env: { ...lab.env, ...env },
    stdio: ["ignore", log, log, tellsReady ? "pipe" : "ignore"],
    detached: true,
  });
  closeSync(log);
  const pid = await started(child, name);
  const id = processId(pid) ?? { pid, startTicks: 0 }; // it may have ended already: then nothing has start time 0
  lab.made(recordId, formatProcessId(id));
  child.unref();
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal ?? -1));
  });
  const ready = readiness(child, exited);
  return {
    name,
    id,
    logFile,
    alive: () => isAlive(id),
    untilReady: (withinMs) => bounded(ready, withinMs, { name, logFile }),
    end: async (graceMs) => {
      child.ref(); // from here on its exit is waited for: nothing else may keep this program running
      await endProcesses([id], graceMs);
      lab.gone(recordId);
      return exited;
    },
  };
}

function started(child: ChildProcess, name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("spawn", () => resolve(child.pid ?? 0));
    child.once("error", (cause) => reject(new Fault("lab-failed", `cannot start ${name}`, { cause })));
  });
}

/** Gives what ended first: "ready" (descriptor 3 closed while the program runs) or "exited". */
async function readiness(child: ChildProcess, exited: Promise<unknown>): Promise<"ready" | "exited"> {
  const pipe = child.stdio[3];
  if (!(pipe instanceof Readable)) return exited.then(() => "exited" as const);
  const text = await new Promise<string>((resolve) => {
    let seen = "";
    pipe.on("data", (chunk: Buffer) => (seen += chunk.toString("latin1")));
    pipe.once("close", () => resolve(seen));
  });
  return text === "ready\n" ? "ready" : "exited";
}

async function bounded(
  ready: Promise<"ready" | "exited">,
  withinMs: number,
  { name, logFile }: Pick<Daemon, "name" | "logFile">,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), withinMs);
  });
  const outcome = await Promise.race([ready, late]);
  clearTimeout(timer);
  if (outcome === "ready") return;
  const what = outcome === "exited" ? "ended before it was ready" : `was not ready within ${withinMs / 1000} s`;
  throw new Fault("lab-failed", `${name} ${what}; it said last:\n${lastLines(logFile, 5)}`);
}

/** The last lines of a log, or a word on why there are none. */
export function lastLines(file: string, count: number): string {
  const text = existsSync(file) ? readFileSync(file, "utf8").trimEnd() : "";
  return text === "" ? "(nothing)" : text.split("\n").slice(-count).join("\n");
}

// Processes as /proc shows them: identity by pid and start time, so that a reused pid is never taken for one of ours.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { until } from "./waiting.ts";

/** A process that cannot be confused with a later one of the same pid. */
export interface ProcessId {
  pid: number;
  /** Start time in clock ticks since boot (proc(5), stat, field 22). */
  startTicks: number;
}

/** Every process that a lab starts carries this variable, with the lab's token as its value. */
export const tokenVariable = "FAIRLEAD_LAB_TOKEN";

/** The process under `pid` now; undefined where there is none, or only a zombie. */
export function processId(pid: number): ProcessId | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The program's name is in brackets and may itself hold brackets and spaces: fields are counted from the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  const startTicks = Number(fields[19]);
  if (state === "Z" || state === "X" || !Number.isSafeInteger(startTicks)) return undefined;
  return { pid, startTicks };
}

/** True while exactly this process runs. */
export function isAlive({ pid, startTicks }: ProcessId): boolean {
  return processId(pid)?.startTicks === startTicks;
}

/** "pid:ticks", the form of the record file. */
export function formatProcessId({ pid, startTicks }: ProcessId): string {
  return `${pid}:${startTicks}`;
}

/** Reads "pid:ticks"; undefined for anything else. */
export function parseProcessId(text: string): ProcessId | undefined {
  const match = /^(\d{1,10}):(\d{1,15})$/.exec(text);
  return match === null ? undefined : { pid: Number(match[1]), startTicks: Number(match[2]) };
}

/** All processes that carry `token`, this one excepted. */
export function processesWithToken(token: string): ProcessId[] {
  const wanted = `${tokenVariable}=${token}`;
  return allPids().flatMap((pid) => {
    if (pid === process.pid) return [];
    const id = processId(pid);
    const carries = readProc(`/proc/${pid}/environ`)?.split("\0").includes(wanted) === true;
    return id !== undefined && carries && isAlive(id) ? [id] : [];
  });
}

/** All processes whose network namespace has this inode number. */
export function processesInNetns(inode: string): ProcessId[] {
  return allPids().flatMap((pid) => {
    const id = processId(pid);
    return id !== undefined && netnsInode(pid) === inode ? [id] : [];
  });
}

/** The inode number of the network namespace that `pid` is in; undefined where the process is gone. */
export function netnsInode(pid: number): string | undefined {
  try {
    return /^net:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[1];
  } catch {
    return undefined; // gone meanwhile
  }
}

/** The program's name as the kernel holds it, at most 15 bytes; "" where the process is gone. */
export function processName(pid: number): string {
  return readProc(`/proc/${pid}/comm`)?.trim() ?? "";
}

/**
 * Ends processes: SIGTERM, up to `graceMs` for an orderly end, then SIGKILL; SIGKILL at once where `graceMs` is 0.
 * Those already gone are no error. Gives true where none had to be killed.
 * @throws Fault "lab-failed" where one survives even SIGKILL for 30 s (a task stuck in the kernel).
 */
export async function endProcesses(ids: readonly ProcessId[], graceMs: number): Promise<boolean> {
  const stillRunning = async (): Promise<string | undefined> => {
    const left = ids.filter(isAlive);
    return left.length === 0 ? undefined : `still running: ${left.map(({ pid }) => pid).join(", ")}`;
  };
  if (graceMs > 0) {
    for (const id of ids) signalProcess(id, "SIGTERM");
    const orderly = until(stillRunning, { what: "end of processes", withinMs: graceMs });
    if (
      await orderly.then(
        () => true,
        () => false,
      )
    )
      return true;
  }
  for (const id of ids) signalProcess(id, "SIGKILL");
  await until(stillRunning, { what: "end of killed processes", withinMs: 30_000 });
  return false;
}

/** Sends a signal if exactly this process still runs. */
export function signalProcess(id: ProcessId, signal: NodeJS.Signals): void {
  if (!isAlive(id)) return;
  try {
    process.kill(id.pid, signal);
  } catch {
    // It ended between the look and the call: that is what was wanted.
  }
}

function allPids(): number[] {
  return readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // gone meanwhile, or a kernel thread
  }
}

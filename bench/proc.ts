// What the agent costs the machine, as /proc tells it: memory, and processor time by thread.

import { readdirSync, readFileSync } from "node:fs";
import { Fault } from "../src/base/fault.ts";

/** Clock ticks of /proc a second (proc(5), sysconf(_SC_CLK_TCK)); 100 on every Linux there is. */
const ticksPerSecond = 100;

/** Resident memory in megabytes (2^20 bytes). */
export function residentMb(pid: number): number {
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  if (found === null) throw new Fault("lab-failed", `process ${pid} has no VmRSS`);
  return Number(found[1]) / 1024;
}

/** Processor time in ms that each thread has used, in user and kernel mode together, by its name; those of one name are summed. */
export function threadCpuMs(pid: number): Map<string, number> {
  const byName = new Map<string, number>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    // Fields behind the name begin with the third; utime and stime are 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    byName.set(name, (byName.get(name) ?? 0) + (ticks * 1000) / ticksPerSecond);
  }
  return byName;
}

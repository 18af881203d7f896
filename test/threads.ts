// The threads of this process, as /proc lists them: one may end while it is looked at.

import { readFileSync, readdirSync } from "node:fs";

/** The names of this process's threads. */
export function threadNames(): string[] {
  return readdirSync("/proc/self/task").flatMap((id) => {
    try {
      return [readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim()];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

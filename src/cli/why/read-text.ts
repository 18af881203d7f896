// The text of a file that somebody named on the command line.

import { readFileSync } from "node:fs";
import { describe, Fault } from "../../base/fault.ts";

/**
 * `file` is a path, or 0 for stdin; `what` begins the message, `cure` ends it.
 * @throws Fault "not-found" where it cannot be read, with what the system says
 */
export function readText(file: string | 0, what: string, cure: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    // "ENOENT: no such file or directory, open '/etc/x'": the file is named already.
    const [reason] = describe(error).split(",");
    throw new Fault("not-found", `${what} cannot be read (${reason}); ${cure}`);
  }
}

// What becomes of each pass of a program's loops: counted, and told where it failed.

import { describe } from "./fault.ts";
import type { Log } from "./log.ts";
import type { LoopPass } from "./loop.ts";
import type { Metrics } from "./metrics.ts";

/** Gives the `onPass` of a program's loops. */
export function reportPasses(metrics: Pick<Metrics, "loop">, log: Log): (pass: LoopPass) => void {
  return (pass) => {
    metrics.loop(pass);
    if (!pass.ok) log.error({ loop: pass.name, error: describe(pass.error) }, "pass failed; it is tried again");
  };
}

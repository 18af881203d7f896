// The loop that tells people of their groups and bindings: of its own, so that no slice waits for a status or an event.

import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import { type ControllerDeps, nodePace } from "../deps.ts";
import type { PolicySeen } from "./policy-seen.ts";
import { writePolicyStatus } from "./write-status.ts";

/** Between two looks at the status of groups and bindings: numbers of members change with every pod. */
export const statusEveryMs = 5_000;

export interface PolicyStatuses {
  /** It is time to look at them again. */
  isDue: () => boolean;
  /** What there is to judge by, instead of what was shown before and is not written yet. */
  show: (seen: PolicySeen) => void;
  /** One pass: writes what was shown. */
  sync: (signal: AbortSignal) => Promise<void>;
}

/** Starts the loop. */
export function startPolicyStatuses(
  { sync }: PolicyStatuses,
  signal: AbortSignal,
  onPass?: (pass: LoopPass) => void,
): Loop {
  return startLoop({
    name: "policy-status",
    ...nodePace,
    sync,
    signal,
    ...(onPass === undefined ? {} : { onPass }),
  });
}

/** Makes what writes them; `ask` asks for a pass. */
export function createPolicyStatuses(deps: ControllerDeps, ask: () => void = () => {}): PolicyStatuses {
  let shown: PolicySeen | undefined;
  let shownMs = -Infinity;
  return {
    isDue: () => deps.uptime() - shownMs >= statusEveryMs,
    show: (seen) => {
      [shown, shownMs] = [seen, deps.uptime()];
      ask();
    },
    sync: async (signal) => {
      const seen = shown;
      if (seen === undefined) return;
      await writePolicyStatus(deps, seen, signal);
      if (shown === seen) shown = undefined; // else there is more to say
    },
  };
}

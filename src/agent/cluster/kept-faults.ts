// Faults of this node that somebody keeps up to date: logged, and told to the cluster, which keeps what an earlier agent told until it is said anew.

import { isDeepStrictEqual } from "node:util";
import type { Log } from "../../base/log.ts";
import type { NodeFault } from "./peers.ts";

export interface KeptFaults {
  /** Those that are now. */
  now: (faults: readonly NodeFault[]) => void;
  held: () => readonly NodeFault[];
  /** What is to be told: those that are now, or, while nobody has said which are, those of `before`, which an agent told last. */
  told: (before: readonly NodeFault[]) => readonly NodeFault[];
}

/** `codes`: of all that it may ever hold. `onChange` is called where what is to be told may have changed. */
export function createKeptFaults(log: Log, codes: readonly string[], onChange: () => void): KeptFaults {
  let said: readonly NodeFault[] | undefined;
  return {
    now: (faults) => {
      if (isDeepStrictEqual(faults, said)) return;
      const isIn = (some: readonly NodeFault[], { message }: NodeFault): boolean =>
        some.some((one) => one.message === message);
      for (const { code, message } of faults) log.warn({ code }, message);
      for (const fault of said ?? [])
        if (!isIn(faults, fault)) log.info({ code: fault.code }, `over: ${fault.message}`);
      said = faults;
      onChange();
    },
    held: () => said ?? [],
    told: (before) => said ?? before.filter(({ code }) => codes.includes(code)),
  };
}

// Events on pods of which much is denied: one for many packets, so that "kubectl describe pod" says it without flooding anybody.

import { keepNewest } from "../../base/newest.ts";
import type { Events } from "../../kube/events.ts";
import type { DeniedPod, Explained } from "./record.ts";

/** So many denied packets of one pod, each told by the flow log, within that time make an event. */
export const denialsMin = 20;
export const denialsWithinMs = 60_000;
/** The same pod has no other event for so long. */
export const tellAgainMs = 300_000;
/** Pods whose denials are counted; the one longest unheard of goes first. */
const podsMax = 2048;

export interface DenialEventsDeps {
  events: Pick<Events, "note">;
  nodeName: string;
  /** Milliseconds that only go forward. */
  clock: () => number;
}

interface Count {
  sinceMs: number;
  packets: number;
  toldMs: number;
}

/** Gives what is to be called with each denied packet. */
export function createDenialEvents({
  events,
  nodeName,
  clock,
}: DenialEventsDeps): (pod: DeniedPod, by: Explained) => void {
  const counts = new Map<string, Count>();
  return ({ namespace, name, uid }, { direction = "", objects }) => {
    const nowMs = clock();
    const count = counts.get(uid) ?? { sinceMs: nowMs, packets: 0, toldMs: -Infinity };
    keepNewest(counts, uid, count, podsMax);
    if (nowMs - count.sinceMs > denialsWithinMs) Object.assign(count, { sinceMs: nowMs, packets: 0 });
    count.packets += 1;
    if (count.packets < denialsMin || nowMs - count.toldMs < tellAgainMs) return;
    count.toldMs = nowMs;
    // The same words for the same cause: repeats are counted on one object then.
    events.note(
      { apiVersion: "v1", kind: "Pod", namespace, name, uid },
      {
        type: "Warning",
        reason: "TrafficDenied",
        message:
          `${denialsMin} packets or more a minute are denied by ${direction} of ${objects.join(", ")}; ` +
          `"fairlead flows --denied --pod ${namespace}/${name}" on node ${nodeName} shows them`,
      },
    );
  };
}

// Brings plans for slices to the API server: each write names the version that it was decided by, so that who is late is refused.

import { describe, isFault } from "../../base/fault.ts";
import { type MembershipSlice, membershipSlices } from "../../kube/policy-objects.ts";
import type { ControllerDeps } from "../deps.ts";
import { each } from "../each.ts";
import { subjectOf } from "../events.ts";
import type { SlicePlan } from "./slices.ts";

type WriteDeps = Pick<ControllerDeps, "kube" | "events" | "log">;

/**
 * Carries out all of it, a few writes at a time; `onWritten` is called with each slice as it is then. Where another has written
 * meanwhile the watch tells, and the next pass decides anew.
 */
export async function writeSlices(
  deps: WriteDeps,
  plans: readonly SlicePlan[],
  onWritten: (slice: MembershipSlice) => void,
  signal: AbortSignal,
): Promise<void> {
  const { kube, events, log } = deps;
  const writes = plans.flatMap(({ changed, made, emptied }) => [
    ...changed.map((slice) => ({ slice, call: () => kube.replace(membershipSlices, slice, { signal }) })),
    ...made.map((slice) => ({ slice, call: () => kube.create(membershipSlices, slice, { signal }) })),
    ...emptied.map((slice) => ({ slice, call: () => removeSlice(deps, slice, signal) })),
  ]);
  await each(writes, signal, async ({ slice, call }) => {
    try {
      const written = await call();
      if (written !== undefined) onWritten(written);
    } catch (error) {
      if (isFault(error, "kube-conflict", "kube-exists", "kube-not-found")) return;
      // What the server refuses of one slice must not slow down the others, nor must the event about it.
      if (!isFault(error, "kube-refused")) throw error;
      void events.warn(subjectOf(membershipSlices, slice.metadata), "WriteRefused", describe(error), signal);
    }
  });
  if (writes.length > 0) log.debug({ writes: writes.length }, "wrote slices of memberships");
}

async function removeSlice(
  { kube }: WriteDeps,
  { metadata }: MembershipSlice,
  signal: AbortSignal,
): Promise<undefined> {
  const { name, uid, resourceVersion } = metadata;
  if (uid === undefined || resourceVersion === undefined) return; // every object of a server has both
  await kube.remove(membershipSlices, { name }, { uid, resourceVersion, signal });
}

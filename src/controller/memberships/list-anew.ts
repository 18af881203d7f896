// What a new leader waits for before it writes: a watch can be dead for a while before that shows, so whatever decides is listed anew.

import { pause } from "../../base/pause.ts";
import type { Cache } from "../../kube/contract.ts";
import type { Caches } from "../deps.ts";

/** How long a new leader waits for its lists; then it goes on by what it knows, and takes nobody out on that word alone. */
export const listedWithinMs = 10_000;
const lookMs = 20;

/** Of slices each write carries the version that it was decided by. */
const deciding = [
  "nodes",
  "networks",
  "endpoints",
  "pods",
  "namespaces",
  "serviceAccounts",
  "networkPolicies",
  "groups",
  "bindings",
  "groupPolicies",
] as const satisfies readonly (keyof Caches)[];

type Listed = Pick<Cache<never>, "renew" | "status">;
export type DecidingCaches = Readonly<Record<(typeof deciding)[number], Listed>>;

/** Has everything listed anew that decides who is a member, and waits for it, at most `withinMs`. Gives the kinds that were not listed by then. */
export async function listAnew(caches: DecidingCaches, withinMs: number, signal: AbortSignal): Promise<string[]> {
  const endMs = performance.now() + withinMs;
  let behind = deciding
    .map((name) => ({ cache: caches[name], lists: caches[name].status().lists }))
    .filter(({ lists }) => lists > 0); // the cluster does not know that kind
  for (const { cache } of behind) cache.renew();
  for (;;) {
    behind = behind.filter(({ cache, lists }) => cache.status().lists <= lists);
    if (behind.length === 0 || signal.aborted || performance.now() >= endMs) break;
    await pause(lookMs, signal);
  }
  return behind.map(({ cache }) => cache.status().kind);
}

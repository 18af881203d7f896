// The loop that keeps the MembershipSlices: which addresses every selector and security group that some policy names stands for.

import { type Loop, type LoopPass, restOf, startLoop } from "../../base/loop.ts";
import { pause } from "../../base/pause.ts";
import { type MembershipSlice, membershipSlices } from "../../kube/policy-objects.ts";
import type { MembershipDefinition } from "../../policy/model.ts";
import { groupMembership } from "../../policy/membership.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import type { ControllerDeps } from "../deps.ts";
import { subjectOf } from "../events.ts";
import { createInherited } from "./inherited.ts";
import { listAnew, listedWithinMs } from "./list-anew.ts";
import { createLosses } from "./losses.ts";
import { createNeeds } from "./needs.ts";
import { createPolicyView } from "../../kube/policy-view.ts";
import { seePolicy } from "./policy-seen.ts";
import type { PolicyStatuses } from "./policy-statuses.ts";
import { createRoster } from "./roster.ts";
import { planSlices, type Members, type SlicePlan } from "./slices.ts";
import { writeSlices } from "./write-slices.ts";

/** What happens in this time becomes one write. */
const gatherMs = 20;
/** As long as a pass computes, at most so long it rests: members that come all the time cost half a processor. */
const restOfPass = restOf({ times: 1, leastMs: 1, mostMs: 500 });
/** A full pass, and one while removals wait for their time. */
const fullPassMs = 60_000;
const waitingPassMs = 2_000;

export interface MembershipKeeper {
  /** One pass. Every write carries the version that it was decided by. */
  sync: (signal: AbortSignal) => Promise<void>;
  /** When the next pass is due, though nothing changes. */
  dueMs: () => number;
}

export interface MembershipDeps extends ControllerDeps {
  /** Shown what people are to be told, when it is time for that. */
  statuses: Pick<PolicyStatuses, "isDue" | "show">;
}

/** Starts the loop. */
export function startMemberships(deps: MembershipDeps, signal: AbortSignal, onPass?: (pass: LoopPass) => void): Loop {
  const keeper = createMembershipKeeper(deps);
  let computedMs = 0;
  return startLoop({
    name: "memberships",
    sync: async (passSignal) => {
      await pause(gatherMs, passSignal);
      const before = process.cpuUsage();
      await keeper.sync(passSignal);
      const { user, system } = process.cpuUsage(before);
      computedMs = (user + system) / 1000;
    },
    minMs: () => restOfPass(computedMs),
    retryMs: 500,
    retryMaxMs: 30_000,
    maxMs: keeper.dueMs,
    signal,
    ...(onPass === undefined ? {} : { onPass }),
  });
}

/** Makes what keeps the slices, for one term; it remembers between passes what it has seen. */
export function createMembershipKeeper(deps: MembershipDeps): MembershipKeeper {
  const { caches, config, uptime, now, statuses, log } = deps;
  const readPolicy = createPolicyView(caches, config.policy);
  const roster = createRoster(caches);
  const needsOf = createNeeds(uptime);
  const losses = createLosses(uptime);
  const inherited = createInherited(deps);
  /** By which members and which versions of its slices a membership was found to be in order. */
  let inOrder = new Map<string, { members: Members; versions: string }>();
  let waiting = false;
  /** Whether everything has been listed in this term, or waited for in vain. */
  let listed = false;
  const followedOf = createFollowed();
  let statusDue = false;
  /** When statuses have to say something else of break-glass, in milliseconds since 1970. */
  let edgeMs = Infinity;

  return {
    dueMs: () => {
      const untilEdgeMs = edgeMs - now();
      return waiting || statusDue || untilEdgeMs <= 0 ? waitingPassMs : Math.min(fullPassMs, untilEdgeMs);
    },
    sync: async (signal) => {
      if (!Object.values(caches).every((cache) => cache.synced())) return; // never remove before all is known
      if (!listed) {
        const behind = await listAnew(caches, listedWithinMs, signal);
        if (signal.aborted) return;
        listed = true;
        if (behind.length > 0)
          log.warn({ kinds: behind }, "not listed anew in time: memberships go on by what was known");
      }
      const slices = Map.groupBy(caches.slices.all(), ({ membership }) => membership);
      const objects = readPolicy();
      const needs = needsOf(objects, slices.keys());
      const followed = followedOf(objects, needs.definitions);
      roster.update(objects, followed.all);
      // Before anything is waited for: what is told is told of the versions that it was judged by.
      statusDue = !statuses.isDue();
      if (!statusDue) {
        const seen = seePolicy(deps, objects, followed.groups, roster);
        edgeMs = seen.opened.edgeMs;
        statuses.show(seen);
      }
      const plans: SlicePlan[] = [];
      const stillInOrder: typeof inOrder = new Map();
      const all = needs.definitions.map((definition) => ({
        definition,
        slices: slices.get(definition.key) ?? [],
        members: roster.members(definition.key),
      }));
      const unheard = await inherited.keptOf(all, signal);
      waiting = needs.waiting || unheard.size > 0;
      for (const { definition, slices: held, members } of all) {
        const { key, peer } = definition;
        const versions = versionsOf(held);
        const known = inOrder.get(key);
        if (known?.members === members && known.versions === versions) {
          stillInOrder.set(key, known);
          continue;
        }
        const lost = losses.keptOf(key, held, members, roster.isAttached);
        if (lost.size > 0) {
          waiting = true;
          tellOfLoss(deps, held, peer, signal);
        }
        const kept = new Set([...lost, ...(unheard.get(key) ?? [])]);
        const plan = planSlices({ membership: key, peer, members, kept }, held);
        if (kept.size === 0 && isEmpty(plan)) stillInOrder.set(key, { members, versions });
        else plans.push(plan);
      }
      inOrder = stillInOrder;
      losses.retain(new Set(needs.definitions.map(({ key }) => key)));
      const unneeded = [...needs.unneeded].flatMap((key) => slices.get(key) ?? []);
      const onWritten = (slice: MembershipSlice): void => {
        if (!unheard.has(slice.membership)) inherited.settle(slice);
      };
      await writeSlices(deps, [...plans, { changed: [], made: [], emptied: unneeded }], onWritten, signal);
    },
  };
}

interface Followed {
  /** What slices are kept of, and all security groups, whose members are counted. */
  all: readonly MembershipDefinition[];
  groups: ReadonlyMap<string, MembershipDefinition>;
}

/** Puts them together, anew only where something has changed. */
function createFollowed(): (objects: ReadObjects, definitions: readonly MembershipDefinition[]) => Followed {
  let made: (Followed & { objects: ReadObjects; definitions: readonly MembershipDefinition[] }) | undefined;
  return (objects, definitions) => {
    if (made?.objects === objects && made.definitions === definitions) return made;
    const groups = new Map([...objects.groups.keys()].map((name) => [name, groupMembership(name)]));
    const all = new Map([...groups.values(), ...definitions].map((definition) => [definition.key, definition]));
    made = { objects, definitions, groups, all: [...all.values()] };
    return made;
  };
}

const versionsOf = (slices: readonly MembershipSlice[]): string =>
  slices.map(({ metadata }) => `${metadata.uid} ${metadata.resourceVersion}`).join();

const isEmpty = ({ changed, made, emptied }: SlicePlan): boolean =>
  changed.length === 0 && made.length === 0 && emptied.length === 0;

/** Always in the same words, so that it is told once and not with each pass. Slices do not wait for it. */
function tellOfLoss(
  { events }: ControllerDeps,
  held: readonly MembershipSlice[],
  peer: string,
  signal: AbortSignal,
): void {
  const [first] = held;
  if (first === undefined) return;
  const message = `more than a fifth of "${peer}" are gone at once; they are taken out only if that is seen again`;
  void events.warn(subjectOf(membershipSlices, first.metadata), "MassRemovalWaits", message, signal);
}

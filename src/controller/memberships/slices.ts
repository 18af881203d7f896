// Which slices of one membership are written, made and removed so that they hold its members: an endpoint stays where it is. Pure.

import { endpointsOfSliceMax, type MembershipSlice } from "../../kube/policy-objects.ts";

/** One attachment of a member: its addresses, and the pod's named ports. */
export type SliceEndpoint = MembershipSlice["endpoints"][number];

/** What tells endpoints apart: where they are reached. */
export const endpointId = ({ addresses }: SliceEndpoint): string => addresses.join();

const idsMade = new WeakMap<MembershipSlice, readonly string[]>();

/** The ids of a slice's endpoints, in their order: made once, since slices of a cache are the same objects until they change. */
export function idsOf(slice: MembershipSlice): readonly string[] {
  const known = idsMade.get(slice);
  if (known !== undefined) return known;
  const made = slice.endpoints.map(endpointId);
  idsMade.set(slice, made);
  return made;
}

/** Members of one membership by `endpointId`. */
export type Members = Pick<ReadonlyMap<string, SliceEndpoint>, "get" | "has" | "keys" | "size">;

export interface Wanted {
  membership: string;
  peer: string;
  members: Members;
  /** Ids that are no members any more, and stay all the same for now. */
  kept: ReadonlySet<string>;
}

export interface SlicePlan {
  /** Slices that are there, with other endpoints than they have. */
  changed: MembershipSlice[];
  /** New ones, without a version. */
  made: MembershipSlice[];
  /** Those that nothing is left of. */
  emptied: MembershipSlice[];
}

interface Draft {
  /** Absent: a new one. */
  slice?: MembershipSlice;
  name: string;
  endpoints: SliceEndpoint[];
  changed: boolean;
}

/**
 * What is to be written so that `slices`, all of this membership, hold what is wanted. What stands in two of them stays in the
 * first. Names are taken in order, so that two leaders who make a slice at the same time make the same name, and one is refused.
 */
export function planSlices(wanted: Wanted, slices: readonly MembershipSlice[]): SlicePlan {
  const seen = new Set<string>();
  const drafts = slices.toSorted(byNumber).map((slice) => draftOf(slice, wanted, seen));
  for (const id of missingFrom(seen, wanted)) {
    const endpoint = wanted.members.get(id);
    if (endpoint === undefined) continue;
    const draft = draftWithRoom(drafts) ?? newDraft(drafts, wanted);
    draft.endpoints.push(endpoint);
    draft.changed = true;
  }
  const plan: SlicePlan = { changed: [], made: [], emptied: [] };
  for (const { slice, name, endpoints, changed } of drafts) {
    if (slice === undefined)
      plan.made.push({ metadata: { name }, membership: wanted.membership, peer: wanted.peer, endpoints });
    else if (endpoints.length === 0) plan.emptied.push(slice);
    else if (changed) plan.changed.push({ ...slice, endpoints });
  }
  return plan;
}

/** Members that no slice has, in order. */
function missingFrom(seen: ReadonlySet<string>, { members, kept }: Wanted): string[] {
  const keptSeen = [...kept].filter((id) => seen.has(id) && !members.has(id)).length;
  if (seen.size - keptSeen === members.size) return [];
  return [...members.keys()].filter((id) => !seen.has(id)).toSorted();
}

/** What stays in a slice; what is found is added to `seen`. */
function draftOf(slice: MembershipSlice, { members, kept }: Wanted, seen: Set<string>): Draft {
  let changed = false;
  const endpoints: SliceEndpoint[] = [];
  const ids = idsOf(slice);
  for (const [at, endpoint] of slice.endpoints.entries()) {
    const id = ids[at] ?? endpointId(endpoint);
    const now = members.get(id) ?? (kept.has(id) ? endpoint : undefined);
    const stays = now !== undefined && !seen.has(id);
    if (stays) seen.add(id);
    const isSame = stays && samePorts(endpoint, now);
    if (stays) endpoints.push(isSame ? endpoint : now);
    changed ||= !isSame;
  }
  return { slice, name: slice.metadata.name, endpoints, changed };
}

/** One that is written anyway, else the fullest: so few are written, and the others can become empty. */
function draftWithRoom(drafts: readonly Draft[]): Draft | undefined {
  let best: Draft | undefined;
  for (const draft of drafts) {
    if (draft.endpoints.length >= endpointsOfSliceMax) continue;
    if (best === undefined || precedes(draft, best)) best = draft;
  }
  return best;
}

function precedes(a: Draft, b: Draft): boolean {
  if (a.changed !== b.changed) return a.changed;
  return a.endpoints.length > b.endpoints.length;
}

function newDraft(drafts: Draft[], { membership }: Wanted): Draft {
  const names = new Set(drafts.map(({ name }) => name));
  let number = 0;
  while (names.has(sliceName(membership, number))) number += 1;
  const draft: Draft = { name: sliceName(membership, number), endpoints: [], changed: true };
  drafts.push(draft);
  return draft;
}

const sliceName = (membership: string, number: number): string => `${membership}-${number}`;

/** By the number at the end of the name; of names that we did not make, by the name. */
function byNumber(a: MembershipSlice, b: MembershipSlice): number {
  const [left, right] = [numberOf(a), numberOf(b)];
  if (left !== right) return left - right;
  return a.metadata.name < b.metadata.name ? -1 : 1;
}

function numberOf({ metadata: { name } }: MembershipSlice): number {
  const digits = /-(\d{1,9})$/.exec(name)?.[1];
  return digits === undefined ? Number.MAX_SAFE_INTEGER : Number(digits);
}

/** True where both give the same names to the same ports. */
function samePorts({ ports: a = [] }: SliceEndpoint, { ports: b = [] }: SliceEndpoint): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  return a.every((one, at) => {
    const other = b[at];
    return one.name === other?.name && one.protocol === other.protocol && one.port === other.port;
  });
}

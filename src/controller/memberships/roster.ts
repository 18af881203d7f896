// Who is a member of what, kept up to date: each pass looks at every pod, and works only on those of which something has changed.

import { sameItems } from "../../base/same-items.ts";
import type { Cache } from "../../kube/contract.ts";
import type { Pod } from "../../kube/core-objects.ts";
import { portsOfEndpointMax } from "../../kube/policy-objects.ts";
import type { MembershipDefinition, MembershipKey } from "../../policy/model.ts";
import { groupsOf } from "../../policy/groups-of.ts";
import { hasEnded, policyPodOf } from "../../policy/policy-pod.ts";
import { type ReadObjects, selectsNamespace } from "../../policy/read-objects.ts";
import { selects } from "../../policy/selector.ts";
import { attachmentsOf, createNodeFacts, type FactsCaches, type NodeFacts } from "./node-facts.ts";
import { endpointId, type Members, type SliceEndpoint } from "./slices.ts";
import { createTally, type Tally } from "./tally.ts";

export interface RosterCaches extends FactsCaches {
  pods: Pick<Cache<Pod>, "all">;
}

export interface Roster {
  /** Brings it up to what the caches say. `objects` is the same object for as long as nothing in it has changed. */
  update(objects: ReadObjects, definitions: readonly MembershipDefinition[]): void;
  /** The members of a membership: the same object for as long as nothing of them has changed, and another one after that. */
  members(key: MembershipKey): Members;
  /** The nodes that have members of it, by name, with the members' namespaces: the same map for as long as nothing in the membership has changed. */
  nodes(key: MembershipKey): MemberNodes;
  /** Whether an attachment of that id belongs to a pod that is there, a member of anything or not. */
  isAttached: (id: string) => boolean;
}

/** Names of nodes, of each the namespaces of its members. */
export type MemberNodes = ReadonlyMap<string, ReadonlySet<string>>;

/** What is known of a pod, and what it was found by. */
interface Entry {
  pod: Pod;
  facts: NodeFacts;
  /** Pass in which it was last seen. */
  pass: number;
  ended: boolean;
  keys: readonly MembershipKey[];
  endpoints: readonly SliceEndpoint[];
}

const noEndpoints: readonly SliceEndpoint[] = [];
const nobody: Members = new Map();

/** An empty roster over these caches. */
export function createRoster(caches: RosterCaches): Roster {
  const entries = new Map<string, Entry>();
  /** The same, by the object of the cache, which is another one after each change: most pods are looked for by it alone. */
  const byPod = new WeakMap<Pod, Entry>();
  const tallies = new Map<MembershipKey, Tally>();
  /** Made when asked for, thrown away when something changes. */
  const nodesMade = new Map<MembershipKey, MemberNodes>();
  const attached = new Map<string, number>();
  const nodeFacts = createNodeFacts(caches);
  let judge: ((pod: Pod) => readonly MembershipKey[]) | undefined;
  let judged: { objects: ReadObjects; definitions: readonly MembershipDefinition[] } | undefined;
  let pass = 0;

  const place = (name: string, { keys, endpoints, ended }: Entry, by: 1 | -1): void => {
    for (const each of endpoints) {
      const id = endpointId(each);
      const count = (attached.get(id) ?? 0) + by;
      if (count > 0) attached.set(id, count);
      else attached.delete(id);
    }
    if (ended || endpoints.length === 0) return;
    for (const key of keys) {
      nodesMade.delete(key);
      const tally = tallies.get(key) ?? createTally();
      if (by === 1) tally.add(name, endpoints);
      else tally.remove(name, endpoints);
      if (tally.pods.size === 0) tallies.delete(key);
      else tallies.set(key, tally);
    }
  };

  const keep = (key: string, entry: Entry): void => {
    entries.set(key, entry);
    byPod.set(entry.pod, entry);
  };

  const look = (pod: Pod, rejudge: boolean): void => {
    const { nodeName } = pod.spec;
    if (nodeName === undefined || pod.spec.hostNetwork === true) return; // not seen in this pass: what there was of it goes
    const facts = nodeFacts.of(nodeName);
    const known = byPod.get(pod);
    if (known !== undefined && known.facts === facts && !rejudge) {
      known.pass = pass;
      return;
    }
    const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const held = entries.get(key);
    const samePod = held?.pod === pod && !rejudge;
    const keys = samePod ? held.keys : (judge?.(pod) ?? []);
    const endpoints = endpointsOf(pod, facts);
    const now: Entry = { pod, facts, pass, ended: hasEnded(pod), keys, endpoints };
    if (held !== undefined && held.ended === now.ended && sameKeys(held, now) && sameEndpoints(held, now)) {
      keep(key, { ...now, keys: held.keys, endpoints: held.endpoints });
      return;
    }
    if (held !== undefined) place(key, held, -1);
    place(key, now, 1);
    keep(key, now);
  };

  return {
    update: (objects, definitions) => {
      const rejudge = judged?.objects !== objects || judged.definitions !== definitions;
      if (rejudge) judge = judgeOf(objects, definitions);
      judged = { objects, definitions };
      pass += 1;
      nodeFacts.begin();
      for (const pod of caches.pods.all()) look(pod, rejudge);
      for (const [name, entry] of entries) {
        if (entry.pass === pass) continue;
        place(name, entry, -1);
        entries.delete(name);
        byPod.delete(entry.pod);
      }
    },
    members: (key) => tallies.get(key)?.members() ?? nobody,
    nodes: (key) => {
      const known = nodesMade.get(key);
      if (known !== undefined) return known;
      const pods = [...(tallies.get(key)?.pods ?? [])].flatMap((name) => entries.get(name)?.pod ?? []);
      const nodes = nodesOf(pods);
      nodesMade.set(key, nodes);
      return nodes;
    },
    isAttached: (id) => attached.has(id),
  };
}

function nodesOf(pods: readonly Pod[]): MemberNodes {
  const nodes = new Map<string, Set<string>>();
  for (const { metadata, spec } of pods) {
    const { nodeName } = spec;
    if (nodeName === undefined) continue;
    const namespaces = nodes.get(nodeName) ?? new Set();
    nodes.set(nodeName, namespaces.add(metadata.namespace ?? ""));
  }
  return nodes;
}

/** Says which memberships a pod is in; what holds for all pods of a namespace is found once. */
function judgeOf(
  objects: ReadObjects,
  definitions: readonly MembershipDefinition[],
): (pod: Pod) => readonly MembershipKey[] {
  const groups = new Map<string, MembershipKey>();
  for (const { key, select } of definitions) if ("group" in select) groups.set(select.group, key);
  const selectorsOf = new Map<string, { key: MembershipKey; pods: Parameters<typeof selects>[0] }[]>();
  const ofNamespace = (name: string) => {
    let found = selectorsOf.get(name);
    if (found === undefined) {
      found = definitions.flatMap(({ key, select }) =>
        "group" in select || !selectsNamespace(objects, select.namespaces, name) ? [] : [{ key, pods: select.pods }],
      );
      selectorsOf.set(name, found);
    }
    return found;
  };
  return (object) => {
    const pod = policyPodOf(object, []);
    if (pod === undefined) return [];
    const selected = ofNamespace(pod.namespace).flatMap(({ key, pods }) => (selects(pods, pod.labels) ? [key] : []));
    if (groups.size === 0) return selected;
    return [...selected, ...groupsOf(pod, objects).groups.flatMap(({ name }) => groups.get(name) ?? [])];
  };
}

function endpointsOf(pod: Pod, facts: NodeFacts): readonly SliceEndpoint[] {
  const attachments = attachmentsOf(pod, facts);
  if (attachments.length === 0) return noEndpoints;
  const { ports } = pod.spec;
  return attachments.map(({ addresses }) => ({
    addresses,
    ...(ports === undefined ? {} : { ports: ports.slice(0, portsOfEndpointMax) }),
  }));
}

const sameKeys = (a: Entry, b: Entry): boolean => a.keys === b.keys || sameItems(a.keys, b.keys);

function sameEndpoints(a: Entry, b: Entry): boolean {
  if (a.endpoints.length !== b.endpoints.length) return false;
  // The list of ports is the same one where the ports are.
  if (a.pod.spec.ports !== b.pod.spec.ports) return false;
  return a.endpoints.every((one, at) => {
    const other = b.endpoints[at];
    return other !== undefined && endpointId(one) === endpointId(other);
  });
}

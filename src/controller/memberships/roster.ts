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
import { endpointId, type SliceEndpoint } from "./slices.ts";

export interface RosterCaches extends FactsCaches {
  pods: Pick<Cache<Pod>, "all">;
}

export interface Roster {
  /** Brings it up to what the caches say. `objects` is the same object for as long as nothing in it has changed. */
  update(objects: ReadObjects, definitions: readonly MembershipDefinition[]): void;
  /** The members of a membership by `endpointId`: the same map for as long as nothing in it has changed. */
  members(key: MembershipKey): ReadonlyMap<string, SliceEndpoint>;
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
const nobody: ReadonlyMap<string, SliceEndpoint> = new Map();

/** An empty roster over these caches. */
export function createRoster(caches: RosterCaches): Roster {
  const entries = new Map<string, Entry>();
  /** Of each membership the endpoints of its pods, by the pods' names. */
  const byKey = new Map<MembershipKey, Map<string, readonly SliceEndpoint[]>>();
  /** Made when asked for, thrown away when something changes. */
  const made = new Map<MembershipKey, ReadonlyMap<string, SliceEndpoint>>();
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
      made.delete(key);
      nodesMade.delete(key);
      const pods = byKey.get(key) ?? new Map<string, readonly SliceEndpoint[]>();
      if (by === 1) pods.set(name, endpoints);
      else pods.delete(name);
      if (pods.size === 0) byKey.delete(key);
      else byKey.set(key, pods);
    }
  };

  const look = (pod: Pod, rejudge: boolean): void => {
    const { name, namespace } = pod.metadata;
    const { nodeName } = pod.spec;
    const key = `${namespace}/${name}`;
    const held = entries.get(key);
    if (nodeName === undefined || pod.spec.hostNetwork === true) return; // not seen in this pass: what there was of it goes
    const facts = nodeFacts.of(nodeName);
    if (held !== undefined && held.pod === pod && held.facts === facts && !rejudge) {
      held.pass = pass;
      return;
    }
    const samePod = held?.pod === pod && !rejudge;
    const keys = samePod ? held.keys : (judge?.(pod) ?? []);
    const endpoints = endpointsOf(pod, facts);
    const now: Entry = { pod, facts, pass, ended: hasEnded(pod), keys, endpoints };
    if (held !== undefined && held.ended === now.ended && sameKeys(held, now) && sameEndpoints(held, now)) {
      entries.set(key, { ...now, keys: held.keys, endpoints: held.endpoints });
      return;
    }
    if (held !== undefined) place(key, held, -1);
    place(key, now, 1);
    entries.set(key, now);
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
      }
    },
    members: (key) => {
      const pods = byKey.get(key);
      if (pods === undefined) return nobody;
      let members = made.get(key);
      if (members === undefined) made.set(key, (members = membersFrom(pods)));
      return members;
    },
    nodes: (key) => {
      const known = nodesMade.get(key);
      if (known !== undefined) return known;
      const pods = [...(byKey.get(key)?.keys() ?? [])].flatMap((name) => entries.get(name)?.pod ?? []);
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

/** Where two pods say that they have an address, the one counts whose name comes first. */
function membersFrom(pods: ReadonlyMap<string, readonly SliceEndpoint[]>): ReadonlyMap<string, SliceEndpoint> {
  const members = new Map<string, { endpoint: SliceEndpoint; owner: string }>();
  for (const [owner, endpoints] of pods)
    for (const endpoint of endpoints) {
      const id = endpointId(endpoint);
      const other = members.get(id);
      if (other === undefined || owner < other.owner) members.set(id, { endpoint, owner });
    }
  return new Map([...members].map(([id, { endpoint }]) => [id, endpoint]));
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

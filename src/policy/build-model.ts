// The model of a whole cluster, and that of one node, which knows its own pods and what it is told of others.

import type { Ip } from "../net/ip.ts";
import { breakGlassAt, judgedUnder } from "./break-glass.ts";
import { defaultKeys, type PolicyKeys } from "./keys.ts";
import { layersOf } from "./layers.ts";
import { allMembers, indexMembers } from "./members.ts";
import type { Layer, Memberships, Model, PolicyObjects, PolicyPod, Subject } from "./model.ts";
import type { Definitions } from "./packet-text.ts";
import type { Problem } from "./problem.ts";
import { peersOfUnknownGroups } from "./read-group.ts";
import { type ReadObjects, readObjects } from "./read-objects.ts";
import { order } from "./selector.ts";
import { isUnguarded } from "./source-guard.ts";

/** The model, and for people: what memberships stand for, and what of the objects does not count and why. */
export interface BuiltModel extends Model {
  definitions: Definitions;
  problems: readonly Problem[];
  /** Names of the groups that there are. */
  groups: ReadonlySet<string>;
}

/** As the agents' configuration has it; what is absent is as `defaultKeys` has it. */
export type ModelOptions = Partial<PolicyKeys> & {
  /** When break-glass is looked at, in milliseconds since 1970; absent: none lasts. */
  nowMs?: number;
  /** Annotations of nodes that say break-glass, by name. */
  nodeBreakGlass?: ReadonlyMap<string, string>;
};

/** Addresses of nodes, by name. */
export type NodeAddresses = ReadonlyMap<string, readonly Ip[]>;

/** The model of a cluster: every pod with addresses is a subject, and memberships are filled with them. */
export function clusterModel(
  objects: PolicyObjects,
  pods: readonly PolicyPod[],
  nodes: NodeAddresses,
  options: ModelOptions = {},
): BuiltModel {
  const read = readObjects(objects, { ...defaultKeys, ...options });
  const unknown = peersOfUnknownGroups(objects.groups);
  const all = { ...read, problems: [...read.problems, ...unknown].sort((a, b) => order(a.object, b.object)) };
  return modelOf(all, pods, nodes, allMembers(indexMembers(pods, read), read), options);
}

/** The model of a node: `pods` are its own, `memberships` what it has been told. */
export function localModel(
  objects: ReadObjects,
  pods: readonly PolicyPod[],
  nodes: NodeAddresses,
  memberships: Memberships,
  options: ModelOptions = {},
): BuiltModel {
  return modelOf(objects, pods, nodes, memberships, options);
}

function modelOf(
  read: ReadObjects,
  pods: readonly PolicyPod[],
  nodes: NodeAddresses,
  memberships: Memberships,
  {
    groupsJudgeOwnNode = defaultKeys.groupsJudgeOwnNode,
    metadata = defaultKeys.metadata,
    nowMs,
    nodeBreakGlass,
  }: ModelOptions,
): BuiltModel {
  const problems = new Map<string, Problem>();
  const broken = breakGlassAt(read, nodeBreakGlass, nowMs);
  const add = (problem: Problem): unknown =>
    problems.set(`${problem.object} ${problem.path} ${problem.message}`, problem);
  [...read.problems, ...broken.problems].forEach(add);
  // Pods that are told the same share the layer itself, so that whoever reads the model does the work once.
  const layers = new Map<string, Layer>();
  const shared = (layer: Layer): Layer => {
    const known = layers.get(layer.id);
    if (known === undefined) layers.set(layer.id, layer);
    return known ?? layer;
  };
  const subjects = pods
    .filter(({ addresses }) => addresses.length > 0)
    .map((pod): Subject => {
      const { problems, hints, ...said } = layersOf(pod, read);
      problems.forEach(add);
      const { namespace, name, uid, node, addresses } = pod;
      const breakGlass = broken.of(pod);
      const { egress, ingress } = judgedUnder(breakGlass, said);
      return {
        pod: { namespace, name, uid, node, addresses },
        egress: egress.map(shared),
        ingress: ingress.map(shared),
        ...(breakGlass === undefined ? {} : { breakGlass }),
        isUnguarded: isUnguarded(pod, read.perPodGuard),
        hints,
      };
    });
  return {
    subjects,
    nodes,
    memberships,
    groupsJudgeOwnNode,
    metadata,
    definitions: read.memberships,
    problems: [...problems.values()],
    groups: new Set(read.groups.keys()),
  };
}

// On which of the nodes that have members a security group is enforced: by what their agents say, compared with the objects as they are.

import { policyBypassed } from "../../kube/objects.ts";
import type { SecurityGroup } from "../../kube/policy-objects.ts";
import { agreeOn, groupsMark } from "../../policy/mark.ts";
import type { Caches } from "../deps.ts";

export interface Enforcement {
  /** Nodes with members. */
  nodesTotal: number;
  nodesEnforcing: number;
  /** Names of those that do not yet judge by the group as it is, sorted. */
  behind: string[];
  /** Names of those on which something goes round it, sorted; they never count as enforcing. */
  bypassed: string[];
}

export type EnforcementCaches = Pick<Caches, "nodes" | "networks" | "endpoints" | "groups">;

/** Looks at the caches as they are now; `nodesOf` gives the nodes that have members of a group. */
export function createEnforcement(
  { nodes, networks, endpoints, groups }: EnforcementCaches,
  nodesOf: (group: string) => Iterable<string>,
): (group: Pick<SecurityGroup, "metadata">) => Enforcement {
  const mark = groupsMark(groups.all());
  const isBypassed = (name: string): boolean =>
    networks.get({ name })?.spec.faults?.some(({ code }) => code === policyBypassed) === true;
  /** Nothing is believed of a Node that is gone, or of its namesake. */
  const saysOf = (name: string): string | undefined => {
    const said = endpoints.get({ name });
    const uid = nodes.get({ name })?.metadata.uid;
    return uid !== undefined && said?.nodeUid === uid ? said.policy?.groups : undefined;
  };
  return ({ metadata: { name } }) => {
    const all = [...nodesOf(name)].toSorted();
    const bypassed = all.filter(isBypassed);
    const behind = all.filter((node) => !bypassed.includes(node) && !agreeOn(name, saysOf(node) ?? "", mark));
    return { nodesTotal: all.length, nodesEnforcing: all.length - bypassed.length - behind.length, behind, bypassed };
  };
}

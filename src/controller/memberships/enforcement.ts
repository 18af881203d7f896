// On which of the nodes that have members a security group is enforced: by what their agents say, compared with the objects as they are.

import type { Node } from "../../kube/core-objects.ts";
import { type NodeEndpoints, type NodeNetwork, policyBypassed } from "../../kube/objects.ts";
import type { SecurityGroup } from "../../kube/policy-objects.ts";
import { agreeOn, groupsMark } from "../../policy/mark.ts";
import type { Opened } from "./opened.ts";
import type { MemberNodes } from "./roster.ts";
import type { Still } from "./still.ts";

export interface Enforcement {
  /** Nodes with members. */
  nodesTotal: number;
  nodesEnforcing: number;
  /** Names of those that do not yet judge by the group as it is, sorted. */
  behind: string[];
  /** Names of those on which something goes round it, sorted; they never count as enforcing. */
  bypassed: string[];
  /** Names of those on which break-glass opens members, sorted; nor do they. */
  opened: string[];
  /** The objects that have that break-glass, sorted. */
  openedBy: string[];
}

export interface EnforcementCaches {
  nodes: Still<Node>;
  networks: Still<NodeNetwork>;
  endpoints: Still<NodeEndpoints>;
  groups: Still<SecurityGroup>;
}

/** Looks at what there was; `nodesOf` gives the nodes that have members of a group. */
export function createEnforcement(
  { nodes, networks, endpoints, groups }: EnforcementCaches,
  nodesOf: (group: string) => MemberNodes,
  opened: Pick<Opened, "by">,
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
    const namespaces = nodesOf(name);
    const all = [...namespaces.keys()].toSorted();
    const bypassed = new Set(all.filter(isBypassed));
    const openers = new Map(
      all.flatMap((node) => {
        const by = [...(namespaces.get(node) ?? [])].flatMap((namespace) => opened.by(namespace, node) ?? []);
        return by.length === 0 ? [] : [[node, by] as const];
      }),
    );
    const rest = all.filter((node) => !bypassed.has(node) && !openers.has(node));
    const behind = rest.filter((node) => !agreeOn(name, saysOf(node) ?? "", mark));
    return {
      nodesTotal: all.length,
      nodesEnforcing: rest.length - behind.length,
      behind,
      bypassed: [...bypassed],
      opened: [...openers.keys()],
      openedBy: [...new Set([...openers.values()].flat())].toSorted(),
    };
  };
}

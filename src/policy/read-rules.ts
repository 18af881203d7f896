// What NetworkPolicies and security groups have in common once they are read: rules, and the pods that a peer selects.

import type { LabelSelector } from "../kube/policy-objects.ts";
import { namespaceNamed, peerTextMax, podsMembership } from "./membership.ts";
import type { MembershipDefinition, Peer, Rule } from "./model.ts";
import type { Report } from "./problem.ts";
import { canonicalSelector, everything, nothing } from "./selector.ts";

/** What one object, a policy or a group, adds to the pods that it is about. */
export interface ReadRules {
  /** As `Layer.objects` names it. */
  title: string;
  /** On probation. */
  audit: boolean;
  /** Absent: it says nothing about this direction. Ports of a pod that are named in ingress stand as `peerPort`. */
  ingress?: readonly Rule[];
  egress?: readonly Rule[];
}

/** Takes each membership that a rule refers to, and gives it as a peer. */
export type Refer = (definition: MembershipDefinition) => Peer;

interface PodSelection {
  /** Absent: `namespace`; where that is absent too, none. */
  namespaceSelector: LabelSelector | undefined;
  /** Absent: all pods of those namespaces. */
  podSelector: LabelSelector | undefined;
  namespace?: string;
}

/** The pods that a peer selects; undefined where it cannot be read, or is too long to be told to nodes. */
export function selectedPods(
  { namespaceSelector, podSelector, namespace }: PodSelection,
  path: string,
  refer: Refer,
  report: Report,
): Peer | undefined {
  const own = namespace === undefined ? nothing : namespaceNamed(namespace);
  const namespaces =
    namespaceSelector === undefined ? own : canonicalSelector(namespaceSelector, `${path}.namespaceSelector`, report);
  const pods = podSelector === undefined ? everything : canonicalSelector(podSelector, `${path}.podSelector`, report);
  if (namespaces === undefined || pods === undefined) return undefined;
  const definition = podsMembership(namespaces, pods);
  if (definition.peer.length <= peerTextMax) return refer(definition);
  report(
    path,
    `the selector is ${definition.peer.length} characters long, at most ${peerTextMax} can be told to nodes; the peer ` +
      "allows nothing; select by fewer values, or give the pods a label that says what they have in common",
  );
  return undefined;
}

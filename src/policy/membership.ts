// What a peer that is no network stands for: a selector of pods or a security group, in one spelling and with one key.

import { createHash } from "node:crypto";
import type { CanonicalSelector, MembershipDefinition, MembershipKey } from "./model.ts";
import type { Report } from "./problem.ts";
import { everything, selectorText } from "./selector.ts";

/** The label that the API server puts on every namespace, and that nobody can change. */
export const namespaceNameLabel = "kubernetes.io/metadata.name";

/** Longest canonical text of a membership: what a MembershipSlice can carry as its `peer`. */
export const peerTextMax = 8192;
const keyDigits = 20;

/** Selects the namespace of that name. */
export function namespaceNamed(name: string): CanonicalSelector {
  return [{ key: namespaceNameLabel, operator: "In", values: [name] }];
}

/** The pods that `pods` selects, of the namespaces that `namespaces` does. */
export function podsMembership(namespaces: CanonicalSelector, pods: CanonicalSelector): MembershipDefinition {
  const peer = `pods ${selectorText(pods)} of namespaces ${selectorText(namespaces)}`;
  return { key: keyOf(peer), peer, select: { namespaces, pods } };
}

/** The pods that are bound to a security group. */
export function groupMembership(group: string): MembershipDefinition {
  const peer = `members of SecurityGroup ${group}`;
  return { key: keyOf(peer), peer, select: { group } };
}

/** Every pod that has an address of its own. */
export const everyPod: MembershipDefinition = podsMembership(everything, everything);

/** Gives `definition`, or reports that no slice could carry it. */
export function carried(
  definition: MembershipDefinition,
  path: string,
  report: Report,
): MembershipDefinition | undefined {
  if (definition.peer.length <= peerTextMax) return definition;
  report(
    path,
    `the selector is ${definition.peer.length} characters long, at most ${peerTextMax} can be told to nodes; the peer ` +
      "allows nothing; select by fewer values, or give the pods a label that says what they have in common",
  );
  return undefined;
}

function keyOf(peer: string): MembershipKey {
  const digest = createHash("sha256").update(peer).digest("hex").slice(0, keyDigits);
  return digest as MembershipKey; // oxlint-disable-line typescript/no-unsafe-type-assertion -- the one place where the brand is given
}

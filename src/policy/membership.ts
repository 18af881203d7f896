// What a peer that is no network stands for: a selector of pods or a security group, in one spelling and with one key.

import { createHash } from "node:crypto";
import { assert } from "../base/assert.ts";
import type { CanonicalSelector, MembershipDefinition, MembershipKey } from "./model.ts";
import { everything, selectorText } from "./selector.ts";

/** The label that the API server puts on every namespace, and that nobody can change. */
export const namespaceNameLabel = "kubernetes.io/metadata.name";

/** Longest canonical text of a membership: what a MembershipSlice can carry as its `peer`. */
export const peerTextMax = 8192;
const keyDigits = 20;
const keyForm = new RegExp(`^[0-9a-f]{${keyDigits}}$`);

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

/** Whether a text from outside can be one. */
export function isMembershipKey(text: string): text is MembershipKey {
  return keyForm.test(text);
}

function keyOf(peer: string): MembershipKey {
  const digest = createHash("sha256").update(peer).digest("hex").slice(0, keyDigits);
  assert(isMembershipKey(digest), `${digest} is a key`);
  return digest;
}

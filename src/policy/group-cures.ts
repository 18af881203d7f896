// What would have to change about groups so that a packet passes: those that a pod does not get, and those that a rule asks for.

import type { Layer, Packet, RefusedHint, Rule, Subject } from "./model.ts";
import { type Definitions, endText, podTitle } from "./packet-text.ts";
import { objectTitle } from "./problem.ts";

const titleOf = (name: string): string => objectTitle("SecurityGroup", { name });

/** Groups of the layer that its pod does not get. */
export function refusedOf(layer: Layer, subject: Subject | undefined): readonly RefusedHint[] {
  return layer.kind === "groups" ? (subject?.hints?.refused ?? []) : [];
}

/** What makes the pod a member of a group that it does not get. */
function membershipCure({ name, why, byName }: RefusedHint, { pod }: Subject): string {
  const title = titleOf(name);
  if (why === "unknown") return `create ${title}`;
  if (why === "too many") return `bind pod ${pod.namespace}/${pod.name} to fewer groups, ${title} among them`;
  return byName
    ? `let bindableFrom of ${title} select namespace ${pod.namespace}`
    : `label namespace ${pod.namespace} so that bindableFrom of ${title} selects it`;
}

/**
 * Of a group that the pod of `layer` does not get: how it gets it, and, where the group's own rules would not do, what to add to them.
 * `wanted` is what none of the rules allows.
 */
export function refusedCure(
  hint: RefusedHint,
  {
    layer,
    subject,
    wanted,
    allows,
  }: { layer: Layer; subject: Subject; wanted: string; allows: (rule: Rule) => boolean },
): string {
  const cure = membershipCure(hint, subject);
  if (hint.why === "unknown")
    return `${cure} with a rule that allows ${wanted}, or bind pod ${podTitle(subject)} to another group`;
  const rules = hint.rules?.[layer.direction];
  const isEnough = rules === undefined || rules.some(allows);
  return isEnough ? cure : `${cure}, and add a rule to it that allows ${wanted}`;
}

/** What makes `address` a peer of a rule that has no place for it yet; where the rule asks for groups and it is a pod's, what makes it a member. */
export function peerCure(
  rule: Rule,
  address: Packet["source"],
  {
    subject,
    definitions,
    groups,
  }: { subject: Subject | undefined; definitions: Definitions; groups?: ReadonlySet<string> },
): string {
  const who = endText(address, subject);
  const asked = rule.peers.flatMap((peer) => {
    const select = "members" in peer ? definitions.get(peer.members)?.select : undefined;
    return select !== undefined && "group" in select ? [select.group] : [];
  });
  if (subject === undefined || asked.length === 0) return `make ${who} a peer of ${rule.from}`;
  const known = asked.filter((name) => groups?.has(name) !== false);
  const [first] = known;
  if (first === undefined)
    return `name a SecurityGroup that is there in ${rule.from}, in place of ${asked.join(", ")}, and bind ${who} to it`;
  const refused = subject.hints?.refused.find(({ name }) => name === first);
  if (refused !== undefined) return membershipCure(refused, subject);
  return `bind ${who} to ${known.length === 1 ? "" : "one of "}${known.map(titleOf).join(", ")}`;
}

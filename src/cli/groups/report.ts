// Security groups as tables: all of them in a line each, or one in full.

import { formatTable } from "../../base/table.ts";
import type { GroupFacts, RuleFacts } from "./facts.ts";

/** Members of one group that are listed. */
const membersShownMax = 500;

/** One line a group. */
export function groupsText(groups: readonly GroupFacts[]): string {
  if (groups.length === 0) return "there is no SecurityGroup";
  return formatTable(
    ["GROUP", "MODE", "MEMBERS", "RULES", "BOUND BY", "ENFORCED ON", "DENIED", "AUDITED", "UNUSED RULES"],
    groups.map((group) => [
      group.name,
      group.mode,
      String(group.members.length),
      String(group.rules.length),
      String(group.boundBy.length),
      enforcedText(group),
      countText(group.denied),
      countText(group.audited),
      group.rules.some(({ hits }) => hits !== undefined) ? String(unusedRules(group).length) : "-",
    ]),
  );
}

/** All of one group. */
export function groupText(group: GroupFacts): string {
  const { name, mode, members, rules, egress, boundBy, namedBy, conditions } = group;
  const shown = members.slice(0, membersShownMax);
  const unused = unusedRules(group);
  const parts = [
    [
      `SecurityGroup ${name}: ${mode}, enforced on ${enforcedText(group)}, denied ${countText(group.denied)}, audited ${countText(group.audited)}`,
      ...conditions.map(({ type, status, reason, message }) => `${type} ${status} (${reason}): ${message}`),
      ...boundBy.map((title) => `bound by ${title}`),
      ...namedBy.map((rule) => `its members are peers of ${rule}`),
    ].join("\n"),
    members.length === 0
      ? "no pod is a member"
      : formatTable(
          ["MEMBER", "NODE", "ADDRESSES"],
          shown.map(({ pod, node, addresses }) => [pod, node, addresses.join(" ")]),
        ),
    members.length > shown.length ? `and ${members.length - shown.length} more members` : "",
    rules.length === 0
      ? "it has no rule: nothing may come to its members by it"
      : formatTable(
          ["RULE", "PORTS", "PEERS", "HITS"],
          rules.map((rule) => [titleOf(rule), rule.ports, rule.peers, hitsText(rule)]),
        ),
    egress === "everything" ? "members may send everything: egress is left away" : "",
    unused.length === 0 ? "" : `unused where it was asked: ${unused.map(titleOf).join(", ")}`,
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

/** Rules by which nothing has begun where agents that judge by them were asked. */
export function unusedRules({ rules }: Pick<GroupFacts, "rules">): RuleFacts[] {
  return rules.filter(({ hits }) => hits?.max === 0);
}

const titleOf = ({ direction, number }: RuleFacts): string => `${direction} ${number}`;

function hitsText({ hits }: RuleFacts): string {
  if (hits === undefined) return "-";
  return hits.min === hits.max ? String(hits.max) : `${hits.min} to ${hits.max}`;
}

const countText = (count: number | undefined): string => (count === undefined ? "-" : String(count));

function enforcedText({ nodesEnforcing, nodesTotal }: GroupFacts): string {
  if (nodesEnforcing === undefined || nodesTotal === undefined) return "-";
  return `${nodesEnforcing} of ${nodesTotal}`;
}

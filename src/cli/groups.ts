// `fairlead groups [NAME]`: security groups with members, rules and their hits, where they are enforced, and what they denied.

import { Fault } from "../base/fault.ts";
import type { OpenCluster } from "./cluster/open.ts";
import { viewCluster } from "./cluster/view.ts";
import { askCounted, type Asked } from "./groups/agents.ts";
import { type GroupFacts, groupFacts } from "./groups/facts.ts";
import { groupsText, groupText } from "./groups/report.ts";
import { policyPods, readDeciding } from "./why/objects.ts";

export interface GroupsOptions {
  /** One group; absent: all. */
  name?: string;
  /** Read-only sockets of the agents that are asked for what they have counted. */
  sockets: readonly string[];
  output: "table" | "json";
}

/** Gives the text to print. @throws Fault "not-found" for a group that is not there; else where the cluster cannot be read */
export async function showGroups(cluster: OpenCluster, { name, sockets, output }: GroupsOptions): Promise<string> {
  const [{ cluster: objects, policy }, asked] = await Promise.all([readDeciding(cluster), askCounted(sockets)]);
  const all = groupFacts({ policy, pods: policyPods(viewCluster(objects)), counted: asked.counted });
  const shown = name === undefined ? all : all.filter((group) => group.name === name);
  if (name !== undefined && shown.length === 0) {
    throw new Fault("not-found", `there is no SecurityGroup ${name}; fairlead groups lists those that are`);
  }
  const notes = notesOn(shown, asked);
  if (output === "json") return JSON.stringify({ groups: shown, asked: askedNodes(asked), notes }, null, 2);
  const [only] = shown;
  const text = name === undefined || only === undefined ? groupsText(shown) : groupText(only);
  return [text, notes.join("\n")].filter((part) => part !== "").join("\n\n");
}

const askedNodes = ({ counted }: Asked): string[] => counted.map(({ node }) => node).toSorted();

/** Whose hits and denials these are, and whose are missing. */
function notesOn(groups: readonly GroupFacts[], asked: Asked): string[] {
  const names = new Set(askedNodes(asked));
  const unasked = new Set(
    groups.flatMap(({ members }) => members.map(({ node }) => node)).filter((node) => !names.has(node)),
  );
  const more = asked.counted.reduce((sum, one) => sum + one.more, 0);
  return [
    ...asked.silent,
    ...(names.size === 0
      ? []
      : [`hits and denials are those of ${[...names].join(", ")}, since its kernel got each rule`]),
    ...(unasked.size === 0
      ? []
      : [
          `${unasked.size} nodes with members were not asked; run this there, or name sockets of their agents by --socket`,
        ]),
    ...(more === 0 ? [] : [`hits of ${more} more rules were not told`]),
  ];
}

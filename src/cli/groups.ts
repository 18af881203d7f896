// `fairlead groups [NAME]`: security groups with members, rules and their hits, where they are enforced, and what they denied.

import { Fault } from "../base/fault.ts";
import { visible } from "../base/visible.ts";
import { type AgentDoor, socketDoor } from "./agents/door.ts";
import { agentDoors } from "./cluster/agent-doors.ts";
import type { OpenCluster } from "./cluster/open.ts";
import { viewCluster } from "./cluster/view.ts";
import { askCounted, type Asked } from "./groups/agents.ts";
import { type GroupFacts, groupFacts } from "./groups/facts.ts";
import { groupsText, groupText } from "./groups/report.ts";
import { policyPods, readDeciding } from "./why/objects.ts";

/** Agents that are asked for what they have counted. */
const askedMax = 256;

export interface GroupsOptions {
  /** One group; absent: all. */
  name?: string;
  /** Read-only sockets of the agents that are asked for what they have counted; none: the agents of all nodes with members. */
  sockets: readonly string[];
  /** The agent of this node, which is asked where no agents run as pods. */
  ownSocket: string;
  output: "table" | "json";
}

/** Gives the text to print. @throws Fault "not-found" for a group that is not there; else where the cluster cannot be read */
export async function showGroups(cluster: OpenCluster, options: GroupsOptions): Promise<string> {
  const { name, output } = options;
  const { cluster: objects, policy } = await readDeciding(cluster);
  const pods = policyPods(viewCluster(objects));
  const factsBy = (counted: Asked["counted"]): GroupFacts[] => {
    const all = groupFacts({ policy, pods, counted });
    return name === undefined ? all : all.filter((group) => group.name === name);
  };
  const asked = await askCounted(await doorsFor(cluster, factsBy([]), options));
  const shown = factsBy(asked.counted);
  if (name !== undefined && shown.length === 0) {
    throw new Fault("not-found", `there is no SecurityGroup ${name}; fairlead groups lists those that are`);
  }
  const notes = notesOn(shown, asked);
  if (output === "json") return JSON.stringify({ groups: shown, asked: askedNodes(asked), notes }, null, 2);
  const [only] = shown;
  const text = name === undefined || only === undefined ? groupsText(shown) : groupText(only);
  return [text, notes.map(visible).join("\n")].filter((part) => part !== "").join("\n\n");
}

/** The agents to ask about these groups. */
async function doorsFor(
  cluster: OpenCluster,
  groups: readonly GroupFacts[],
  { sockets, ownSocket }: GroupsOptions,
): Promise<AgentDoor[]> {
  if (sockets.length > 0) return [...new Set(sockets)].slice(0, askedMax).map(socketDoor);
  const nodes = new Set(groups.flatMap(({ members }) => members.map(({ node }) => node)));
  const doors = [...(await agentDoors(cluster, nodes)).values()].slice(0, askedMax);
  return doors.length > 0 || nodes.size === 0 ? doors : [socketDoor(ownSocket)];
}

const askedNodes = ({ counted }: Asked): string[] => counted.map(({ node }) => node).toSorted();

/** Nodes that are named in a note. */
const nodesShownMax = 5;

function nodesShown(nodes: ReadonlySet<string>): string {
  const shown = [...nodes].toSorted().slice(0, nodesShownMax);
  return `${shown.join(", ")}${nodes.size > shown.length ? ` and ${nodes.size - shown.length} more` : ""}`;
}

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
      : [
          `hits and denials are those of ${names.size > nodesShownMax ? `${names.size} nodes` : [...names].join(", ")}, since the kernel there got each rule`,
        ]),
    ...(unasked.size === 0
      ? []
      : [`${unasked.size} nodes with members were not asked: of ${nodesShown(unasked)} nothing is known`]),
    ...(more === 0 ? [] : [`hits of ${more} more rules were not told`]),
  ];
}

// One question of `fairlead flows` to one agent, and what all of its parts know: the options, and whose records they are.

import { Fault } from "../../base/fault.ts";
import type { AgentDoor } from "../agents/door.ts";
import { readAnswer } from "../answers.ts";
import { flowsAnswer, type TellingAnswer, type ToldFlow } from "./report.ts";

export interface FlowsOptions {
  /** The agents that are asked. */
  doors: readonly AgentDoor[];
  /** Where agents may come and go: who follows looks so often for those that have come, and follows them too. */
  later?: { everyMs: number; doors: () => Promise<readonly AgentDoor[]> };
  denied: boolean;
  pod?: string;
  /** What the only agent that is asked must be of. */
  node?: string;
  follow: boolean;
  output: "table" | "json";
  signal: AbortSignal;
  print: (text: string) => void;
  /** For what is no flow. */
  warn: (text: string) => void;
}

/** An agent, and what it answered first. */
export interface Heard {
  door: AgentDoor;
  first: TellingAnswer;
}

/** True where records have to say of which node they are. */
export const areSeveral = ({ doors, later }: FlowsOptions): boolean => doors.length > 1 || later !== undefined;

/**
 * What the agent has that is newer than record `after`.
 * @throws Fault as `AgentDoor.ask`; "unsupported-value" where it keeps no flow log, or is the agent of another node than the one that is meant
 */
export async function ask(
  door: AgentDoor,
  { denied, pod, node, follow }: FlowsOptions,
  after: number,
): Promise<TellingAnswer> {
  const query = new URLSearchParams({ after: String(after) });
  if (denied) query.set("denied", "yes");
  else if (follow) query.set("connections", "yes");
  if (pod !== undefined) query.set("pod", pod);
  const answer = readAnswer(flowsAnswer, await door.ask(`/flows?${query.toString()}`));
  if ("none" in answer) throw new Fault("unsupported-value", `${door.place} has no flow log: ${answer.none}`);
  if (node !== undefined && node !== answer.node)
    throw new Fault(
      "unsupported-value",
      `${door.place} is the agent of node ${answer.node}, not of ${node}; run this there, ` +
        "or name the cluster's kubeconfig by --kubeconfig",
    );
  return answer;
}

type NodeFlow = ToldFlow & { node: string };

/** Records with the node whose agent told them. */
export const ofNode = ({ node, records }: TellingAnswer): NodeFlow[] => records.map((record) => ({ node, ...record }));

/** Says of which node that is, where there are several. */
export const named = (line: string, { node }: TellingAnswer, options: FlowsOptions): string =>
  areSeveral(options) ? `node ${node}: ${line}` : line;

// `fairlead flows`: what policy denies on this node as it happens, asked of its agent once or until interrupted.

import { Fault, isFault } from "../base/fault.ts";
import { pause } from "../base/pause.ts";
import { quote } from "../cni/quote.ts";
import { askAgent } from "./agent-client.ts";
import { readAnswer } from "./answers.ts";
import { flowsAnswer, flowsLines, flowsTable, leftOutLines, type TellingAnswer } from "./flows/report.ts";

/** How often an agent is asked for what is new. */
const askEveryMs = 500;
/** How long an agent may be away, as it is during its upgrade, before following ends. */
const awayMaxMs = 60_000;

export interface FlowsOptions {
  socket: string;
  denied: boolean;
  pod?: string;
  node?: string;
  follow: boolean;
  output: "table" | "json";
  signal: AbortSignal;
  print: (text: string) => void;
  /** For what is no flow. */
  warn: (text: string) => void;
}

/**
 * Prints what there is, and with `follow` what comes until `signal` aborts; JSON is one record a line.
 * @throws Fault where no agent answers, or another node's than the one that is meant
 */
export async function showFlows(options: FlowsOptions): Promise<void> {
  const { pod, follow, output, warn } = options;
  if (pod !== undefined && !/^[^/]+\/[^/]+$/.test(pod))
    throw new Fault("unsupported-value", `--pod ${quote(pod)}: write NAMESPACE/NAME`);
  const first = await ask(options, 0);
  printAll(first, options);
  if (output === "table") for (const line of leftOutLines(first)) warn(line);
  if (follow) await followFrom(first, options);
}

/** Prints what comes after `first`, until `signal` aborts. An agent that is away for a while is waited for. */
async function followFrom(first: TellingAnswer, options: FlowsOptions): Promise<void> {
  const { signal, warn } = options;
  let [run, after] = [first.run, first.newest];
  let awaySinceMs: number | undefined;
  for (await pause(askEveryMs, signal); !signal.aborted; await pause(askEveryMs, signal)) {
    try {
      const answer = await ask(options, after);
      awaySinceMs = undefined;
      if (answer.run === run) printMore(answer, options);
      else warn("the agent has started anew");
      // Numbers of another run say nothing: the next question is for all of it.
      after = answer.run === run ? answer.newest : 0;
      run = answer.run;
    } catch (error) {
      if (!isFault(error, "not-found", "io-failure")) throw error;
      if (awaySinceMs === undefined) warn(`${error.message}; waiting for it`);
      awaySinceMs ??= performance.now();
      if (performance.now() - awaySinceMs > awayMaxMs) throw error;
    }
  }
}

async function ask({ socket, denied, pod, node, follow }: FlowsOptions, after: number): Promise<TellingAnswer> {
  const query = new URLSearchParams({ after: String(after) });
  if (denied) query.set("denied", "yes");
  else if (follow) query.set("connections", "yes");
  if (pod !== undefined) query.set("pod", pod);
  const answer = readAnswer(flowsAnswer, await askAgent(socket, `/flows?${query.toString()}`));
  if ("none" in answer) throw new Fault("unsupported-value", `there is no flow log at ${socket}: ${answer.none}`);
  if (node !== undefined && node !== answer.node)
    throw new Fault(
      "unsupported-value",
      `${socket} is the agent of node ${answer.node}, not of ${node}; an agent is asked on its own node: ` +
        "run this there, or in the agent's pod there (kubectl exec)",
    );
  return answer;
}

function printAll({ records, node }: TellingAnswer, { output, follow, print }: FlowsOptions): void {
  if (output === "json") for (const record of records) print(JSON.stringify(record));
  else if (records.length > 0 || follow) print(flowsTable(records));
  else print(`nothing was denied on node ${node} since its agent's start`);
}

function printMore({ records }: TellingAnswer, { output, print }: FlowsOptions): void {
  if (records.length === 0) return;
  if (output === "json") for (const record of records) print(JSON.stringify(record));
  else print(flowsLines(records));
}

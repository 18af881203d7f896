// `fairlead flows`: what policy denies as it happens, asked of this node's agent or of all agents of a cluster, once or until interrupted.

import { describe, Fault, isFault } from "../base/fault.ts";
import { pause } from "../base/pause.ts";
import { visible } from "../base/visible.ts";
import { quote } from "../cni/quote.ts";
import type { AgentDoor } from "./agents/door.ts";
import { readAnswer } from "./answers.ts";
import {
  flowsAnswer,
  flowsLines,
  flowsTable,
  leftOutLines,
  type TellingAnswer,
  type ToldFlow,
} from "./flows/report.ts";

/** How often an agent is asked for what is new; with more agents more rarely, by so much for each. */
const askEveryMs = 500;
const askLaterByMs = 10;
/** How long an agent may be away, as it is during its upgrade, before following it ends. */
const awayMaxMs = 60_000;

export interface FlowsOptions {
  /** The agents that are asked. */
  doors: readonly AgentDoor[];
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

interface Heard {
  door: AgentDoor;
  first: TellingAnswer;
}

/**
 * Prints what there is, and with `follow` what comes until `signal` aborts, which is heard at once; JSON is one record a line. Gives false where
 * some of several agents were not heard, or not to the end: which, and why, is warned of.
 * @throws Fault where no agent answers, or another node's than the one that is meant
 */
export async function showFlows(options: FlowsOptions): Promise<boolean> {
  const { signal } = options;
  const aborted = Promise.withResolvers<boolean>();
  const abort = (): void => aborted.resolve(true);
  signal.addEventListener("abort", abort, { once: true });
  try {
    const showing = show(options);
    showing.catch(() => {}); // nobody waits for it any more once it is aborted
    return await Promise.race([showing, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function show(options: FlowsOptions): Promise<boolean> {
  const { doors, pod, follow, output, signal, warn } = options;
  if (pod !== undefined && !/^[^/]+\/[^/]+$/.test(pod))
    throw new Fault("unsupported-value", `--pod ${quote(pod)}: write NAMESPACE/NAME`);
  const heard = await askAll(options);
  const areAllHeard = heard.length === doors.length;
  if (signal.aborted) return areAllHeard;
  printAll(heard, options);
  if (output === "table")
    for (const { first } of heard) for (const line of leftOutLines(first)) warn(named(line, first, doors));
  if (!follow) return areAllHeard;
  const ends = await Promise.all(heard.map((one) => followToEnd(one, options)));
  const failures = ends.filter((end) => end !== undefined);
  if (failures.length > 0 && failures.length === ends.length) throw failures[0];
  return areAllHeard && failures.length === 0;
}

/** Follows one agent; gives why that ended, if it is not for the signal. @throws what is no Fault */
async function followToEnd(heard: Heard, options: FlowsOptions): Promise<Fault | undefined> {
  try {
    await followFrom(heard, options);
    return undefined;
  } catch (error) {
    if (!isFault(error)) throw error;
    if (options.doors.length > 1) options.warn(`${heard.door.place} is asked no more: ${describe(error)}`);
    return error;
  }
}

/** The agents that answered. @throws the first failure where none did */
async function askAll(options: FlowsOptions): Promise<Heard[]> {
  const { doors, warn } = options;
  const answers = await Promise.allSettled(doors.map((door) => ask(door, options, 0)));
  const failures: unknown[] = [];
  const heard: Heard[] = [];
  for (const [index, door] of doors.entries()) {
    const answer = answers[index];
    if (answer?.status === "fulfilled") heard.push({ door, first: answer.value });
    else failures.push(answer?.reason);
  }
  if (heard.length === 0 && failures.length > 0) throw failures[0];
  for (const failure of failures) warn(describe(failure));
  return heard;
}

/** Prints what comes after what an agent said first, until `signal` aborts. An agent that is away for a while is waited for. */
async function followFrom({ door, first }: Heard, options: FlowsOptions): Promise<void> {
  const { signal, warn, doors } = options;
  const everyMs = askEveryMs + askLaterByMs * (doors.length - 1);
  let [run, after] = [first.run, first.newest];
  let awaySinceMs: number | undefined;
  for (await pause(everyMs, signal); !signal.aborted; await pause(everyMs, signal)) {
    try {
      const answer = await ask(door, options, after);
      awaySinceMs = undefined;
      if (answer.run === run) printMore(answer, options);
      else warn(named("the agent has started anew", first, doors));
      // Numbers of another run say nothing: the next question is for all of it.
      after = answer.run === run ? answer.newest : 0;
      run = answer.run;
    } catch (error) {
      if (!isFault(error, "not-found", "io-failure", "kube-unreachable", "kube-busy")) throw error;
      if (awaySinceMs === undefined) warn(`${error.message}; waiting for it`);
      awaySinceMs ??= performance.now();
      if (performance.now() - awaySinceMs > awayMaxMs) throw error;
    }
  }
}

async function ask(
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
const ofNode = ({ node, records }: TellingAnswer): NodeFlow[] => records.map((record) => ({ node, ...record }));

function printAll(heard: readonly Heard[], { doors, output, follow, print }: FlowsOptions): void {
  const records = heard.flatMap(({ first }) => ofNode(first)).toSorted((a, b) => a.atMs - b.atMs);
  if (output === "json") for (const record of records) print(JSON.stringify(record));
  else if (records.length > 0 || follow) print(flowsTable(records, doors.length > 1));
  else print(visible(nothingDenied(heard.map(({ first }) => first.node))));
}

function nothingDenied(nodes: readonly string[]): string {
  return nodes.length === 1
    ? `nothing was denied on node ${nodes.join()} since its agent's start`
    : `nothing was denied on ${nodes.length} nodes since their agents' starts`;
}

function printMore(answer: TellingAnswer, { doors, output, print }: FlowsOptions): void {
  const records = ofNode(answer);
  if (records.length === 0) return;
  if (output === "json") for (const record of records) print(JSON.stringify(record));
  else print(flowsLines(records, doors.length > 1));
}

/** Says of which node that is, where there are several. */
const named = (line: string, { node }: TellingAnswer, { length }: readonly AgentDoor[]): string =>
  length > 1 ? `node ${node}: ${line}` : line;

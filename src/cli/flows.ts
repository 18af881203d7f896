// `fairlead flows`: what policy denies as it happens, asked of this node's agent or of all agents of a cluster, once or until interrupted.

import { describe, Fault } from "../base/fault.ts";
import { visible } from "../base/visible.ts";
import { quote } from "../cni/quote.ts";
import { areSeveral, ask, type FlowsOptions, type Heard, named, ofNode } from "./flows/asking.ts";
import { followAll } from "./flows/follow.ts";
import { flowsTable, leftOutLines } from "./flows/report.ts";

/**
 * Prints what there is, and with `follow` what comes until `signal` aborts, which is heard at once; JSON is one record a line. Gives false where
 * some of several agents were not heard at first: which, and why, is warned of.
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
    for (const { first } of heard) for (const line of leftOutLines(first)) warn(named(line, first, options));
  if (follow) await followAll(heard, options);
  return areAllHeard;
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

function printAll(heard: readonly Heard[], options: FlowsOptions): void {
  const { output, follow, print } = options;
  const records = heard.flatMap(({ first }) => ofNode(first)).toSorted((a, b) => a.atMs - b.atMs);
  if (output === "json") for (const record of records) print(JSON.stringify(record));
  else if (records.length > 0 || follow) print(flowsTable(records, areSeveral(options)));
  else print(visible(nothingDenied(heard.map(({ first }) => first.node))));
}

function nothingDenied(nodes: readonly string[]): string {
  return nodes.length === 1
    ? `nothing was denied on node ${nodes.join()} since its agent's start`
    : `nothing was denied on ${nodes.length} nodes since their agents' starts`;
}

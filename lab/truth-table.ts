// The truth table: real flows between all pods, nodes and the machine outside, held against what `fairlead why` says of each.

import { fileURLToPath } from "node:url";
import { present } from "../src/base/assert.ts";
import type { Cluster } from "./cluster.ts";
import { type Expected, type Flow, type FlowEnd, flowKey, flowProblem, outcomeOf, planFlows } from "./flows.ts";
import { attempt } from "./probing.ts";
import { askWhy, type Explanation, explainWhy, type WhyOptions } from "./why.ts";

const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));

/** A flow that is to pass gets this long, and is tried once more with more time: a busy machine is no denial. */
const firstTry = { timeoutMs: 3_000, bytes: 1 };
const secondTry = { timeoutMs: 8_000, bytes: 1 };

export interface TableVerdict {
  problems: string[];
  probes: number;
  how: string;
}

/** Tries every flow. "before": the expectations are those that held when the table was last as expected, of flows that are still there. */
export async function lookAtFlows(cluster: Cluster, as: "why says" | "before"): Promise<TableVerdict> {
  const ends = endsOf(cluster);
  const planned = planFlows(ends, cluster.ports);
  const before = present(as === "before" ? cluster.lastTable : new Map<string, Expected>(), "an earlier table");
  const flows = as === "before" ? planned.filter((flow) => before.has(flowKey(flow))) : planned;
  if (flows.length === 0) return { problems: ["there is no flow to try"], probes: 0, how: "" };
  const expectations =
    as === "before"
      ? flows.map((flow) => present(before.get(flowKey(flow)), "expectation"))
      : await whySays(cluster, flows);
  const rows = flows.map((flow, index) => ({ flow, expected: present(expectations[index], "expectation") }));
  const wishes = rows.map(({ flow, expected }) => ({ ...flow, silent: !expected.passes }));
  const tried = await attempt(cluster.lab, wishes, firstTry);
  const doubtful = tried.flatMap(({ silent, result }, index) => (silent === true || result.ok ? [] : [index]));
  const again = await attempt(
    cluster.lab,
    doubtful.map((index) => present(wishes[index], "wish")),
    secondTry,
  );
  doubtful.forEach((index, at) => (tried[index] = present(again[at], "result")));

  const who = as === "before" ? "before," : "fairlead why says";
  const outcomes = rows.map((row, index) => ({ ...row, result: present(tried[index], "result").result }));
  const problems = outcomes.flatMap(({ flow, expected, result }) => flowProblem(flow, result, expected, who) ?? []);
  if (problems.length === 0 && as === "why says")
    cluster.lastTable = new Map(rows.map(({ flow, expected }) => [flowKey(flow), expected]));
  const passing = outcomes.filter(({ result }) => outcomeOf(result) === "passes").length;
  return {
    problems,
    probes: flows.length + doubtful.length,
    how: `${flows.length} flows between ${ends.length} ends: ${passing} pass, ${flows.length - passing} do not`,
  };
}

function whySays(cluster: Cluster, flows: readonly Flow[]): Promise<Expected[]> {
  return askWhy(flows, administrator(cluster));
}

/** What `fairlead why` tells people about one question, with the command as they would type it. @throws Fault "lab-failed" where it does not answer */
export function explain(cluster: Cluster, question: readonly string[]): Promise<Explanation> {
  return explainWhy(question, administrator(cluster));
}

function administrator({ lab, kubernetes, program = fairlead }: Cluster): WhyOptions {
  return { env: lab.env, program, ...present(kubernetes, "Kubernetes").admin };
}

/** Pods on their node's network are their node. */
function endsOf(cluster: Cluster): FlowEnd[] {
  const { pods, nodes, outside } = cluster;
  return [
    ...[...pods.values()]
      .filter(({ hostNetwork }) => !hostNetwork)
      .map((pod): FlowEnd => ({ kind: "pod", title: `${pod.namespace}/${pod.name}`, endpoint: pod })),
    ...[...nodes.keys()].map((name): FlowEnd => ({ kind: "node", title: name, endpoint: cluster.endpoint(name) })),
    ...(outside === undefined ? [] : [{ kind: "outside", title: "outside", endpoint: outside } as const]),
  ];
}

// The truth table: real flows between all pods, nodes and the machine outside, held against what `fairlead why` says of each.

import { fileURLToPath } from "node:url";
import { present } from "../src/base/assert.ts";
import type { Cluster } from "./cluster.ts";
import { type Expected, type Flow, type FlowEnd, flowKey, flowProblem, outcomeOf, planFlows } from "./flows.ts";
import { type Attempt, attempt } from "./probing.ts";
import { askWhy } from "./why.ts";
import { all } from "./waiting.ts";

const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));

/** A flow that is denied is lost in silence: nobody waits longer. */
const firstTryMs = 1_000;
/** One that is to pass and did not is tried once more: a busy machine is no denial. */
const secondTryMs = 5_000;

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
  const [tried, expectations] = await all([
    attempt(cluster.lab, flows, firstTryMs),
    as === "before" ? flows.map((flow) => present(before.get(flowKey(flow)), "expectation")) : whySays(cluster, flows),
  ]);
  const expected = new Map(flows.map((flow, index) => [flowKey(flow), present(expectations[index], "expectation")]));
  const of = (flow: Flow): Expected => present(expected.get(flowKey(flow)), "expectation");
  const doubtful = flows.filter((flow, index) => of(flow).passes && !present(tried[index], "result").result.ok);
  const again = await attempt(cluster.lab, doubtful, secondTryMs);
  const results = new Map<Flow, Attempt>();
  flows.forEach((flow, index) => results.set(flow, present(tried[index], "result")));
  doubtful.forEach((flow, index) => results.set(flow, present(again[index], "result")));

  const who = as === "before" ? "before," : "fairlead why says";
  const problems = flows.flatMap(
    (flow) => flowProblem(flow, present(results.get(flow), "result").result, of(flow), who) ?? [],
  );
  if (problems.length === 0 && as === "why says") cluster.lastTable = expected;
  const passing = [...results.values()].filter(({ result }) => outcomeOf(result) === "passes").length;
  return {
    problems,
    probes: flows.length + doubtful.length,
    how: `${flows.length} flows between ${ends.length} ends: ${passing} pass, ${flows.length - passing} do not`,
  };
}

function whySays({ lab, kubernetes, program = fairlead }: Cluster, flows: readonly Flow[]): Promise<Expected[]> {
  return askWhy(flows, { env: lab.env, program, ...present(kubernetes, "Kubernetes").admin });
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

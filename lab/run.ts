// The one scenario runner: makes a lab, does step after step, stops at the first that fails, takes the lab down whatever happened.

import { present, unreachable } from "../src/base/assert.ts";
import { describe, Fault } from "../src/base/fault.ts";
import type { Action, Expectation } from "./actions.ts";
import { auditLabNodes } from "./audit/lab-node.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { lastLines } from "./daemon.ts";
import { leftovers, removeLab } from "./down.ts";
import { execOk } from "./exec.ts";
import { look, type Verdict } from "./expect.ts";

import { planCluster } from "./layout.ts";
import { createLab, type Lab } from "./record.ts";
import type { Scenario, Step } from "./scenario.ts";
import { all, until } from "./waiting.ts";
import { startWarden } from "./warden.ts";

export interface StepReport {
  step: Step;
  ms: number;
  probes: number;
  /** What was done to find out, for people; "" for steps that only change something. */
  how: string;
  /** A command and what it printed, where people should see that. */
  shown?: string;
  /** What went wrong: what was seen, one line each. Absent where the step passed. */
  problems?: string[];
}

export interface ScenarioReport {
  scenario: Scenario;
  /** Steps that were done, in order; only the last ones can have failed. */
  steps: StepReport[];
  /** What the nodes held too much or too little at the end, each with its node; looked for where every step passed. */
  audit: string[];
  /** Every step passed, the nodes hold exactly what their pods need, and nothing was left behind. */
  ok: boolean;
  ms: number;
  probes: number;
  /** The last lines of each agent's log, where a step failed (and was not interrupted). */
  logs: { node: string; text: string }[];
  /** What the lab left on this computer after it was taken down. */
  left: string[];
}

export interface RunOptions {
  lab: string;
  signal: AbortSignal;
  /** Told of each step as soon as it is done. */
  onStep?: (report: StepReport) => void;
  /** The `fairlead` program whose agents run; that of this project if absent. */
  program?: string;
  /** Leave the lab up where a step fails. */
  keep?: boolean;
}

const nothingWrong: Verdict = { problems: [], probes: 0, how: "" };

const logLinesShown = 20;

/** Problems told of one step; the rest is counted. */
const problemsMax = 12;

/** Runs a scenario in a lab of its own. Never throws for a step that fails: the report tells. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioReport> {
  const { signal, onStep, keep = false } = options;
  const startedMs = performance.now();
  const lab = createLab({ name: options.lab });
  const warden = startWarden(lab);
  const stage: Stage = { lab, signal, program: options.program, ports: portsOf(scenario) };
  const steps: StepReport[] = [];
  const logs: ScenarioReport["logs"] = [];
  let audit: string[] = [];
  let removed = false;
  try {
    for (const group of groupSteps(scenario.steps)) {
      const reports = await all(group.map((step) => runStep(step, stage)));
      for (const report of reports) onStep?.(report);
      steps.push(...reports);
      if (reports.some(({ problems }) => problems !== undefined)) break;
    }
    if (passed(steps)) audit = await auditEnd(stage);
  } finally {
    const failed = !passed(steps) || audit.length > 0;
    if (failed && !signal.aborted) logs.push(...agentLogs(stage.cluster));
    lab.close();
    if (!failed || !keep) {
      await removeLab(lab.name);
      removed = true;
    }
    warden.dismiss();
  }
  const left = removed ? leftovers(lab.name, lab.env) : [];
  return {
    scenario,
    steps,
    audit,
    ok: passed(steps) && audit.length === 0 && left.length === 0,
    ms: performance.now() - startedMs,
    probes: steps.reduce((sum, { probes }) => sum + probes, 0),
    logs,
    left,
  };
}

function passed(steps: readonly StepReport[]): boolean {
  return steps.every(({ problems }) => problems === undefined);
}

/** Whatever a scenario was about: in the end every node must hold exactly what the pods that still run need. */
async function auditEnd({ cluster, lab, signal }: Stage): Promise<string[]> {
  if (cluster === undefined) return [];
  try {
    return await auditLabNodes([...cluster.nodes.values()], { env: lab.env, signal });
  } catch (error) {
    return [describe(error)];
  }
}

interface Stage {
  lab: Lab;
  program?: string | undefined;
  /** Every server answers at these. */
  ports: readonly number[];
  signal: AbortSignal;
  /** There once the scenario's first step is done. */
  cluster?: Cluster;
}

/** Steps that may run at the same time: neighbours of one kind whose order cannot matter. */
export function groupSteps(steps: readonly Step[]): Step[][] {
  const parallel = new Set<Action["do"]>(["add pod", "add container", "delete pod"]);
  const groups: Step[][] = [];
  for (const step of steps) {
    const last = groups.at(-1);
    if (last !== undefined && last[0]?.action.do === step.action.do && parallel.has(step.action.do)) last.push(step);
    else groups.push([step]);
  }
  return groups;
}

async function runStep(step: Step, stage: Stage): Promise<StepReport> {
  const startedMs = performance.now();
  let verdict: Verdict;
  try {
    if (stage.signal.aborted) throw new Fault("lab-failed", "interrupted");
    verdict = await perform(step.action, stage);
  } catch (error) {
    verdict = { ...nothingWrong, problems: [describe(error)] };
  }
  const { problems: found, ...seen } = verdict;
  const more = found.length - problemsMax;
  const problems = [...found.slice(0, problemsMax), ...(more > 0 ? [`and ${more} more`] : [])];
  return { step, ms: performance.now() - startedMs, ...seen, ...(problems.length === 0 ? {} : { problems }) };
}

async function perform(action: Action, stage: Stage): Promise<Verdict> {
  if (action.do === "cluster") {
    const { do: _, assign, ...options } = action;
    const layout = planCluster({ lab: stage.lab.name, ...options, control: assign !== undefined });
    const { program, ports } = stage;
    stage.cluster = await startCluster(stage.lab, layout, {
      program,
      ports,
      ...(assign === undefined ? {} : { assign }),
    });
    return nothingWrong;
  }
  const { cluster } = stage;
  if (cluster === undefined) throw new Fault("bug", "a step ran before the cluster was there");
  if (action.do === "expect") return hold(cluster, action.expectation, action.withinMs, stage.signal);
  if (action.do !== "hold") cluster.held.changed();
  await change(action, cluster);
  return action.do === "check pod" ? { ...nothingWrong, how: "CHECK, as a runtime sends it" } : nothingWrong;
}

type Change = Exclude<Action, { do: "cluster" | "expect" }>;

/** Ports with a name, of any pod that the scenario starts. */
function portsOf({ steps }: Scenario): number[] {
  const named = steps.flatMap(({ action }) => (action.do === "add pod" ? (action.wish.ports ?? []) : []));
  return [...new Set(named.map(({ port }) => port))];
}

async function change(action: Change, cluster: Cluster): Promise<void> {
  switch (action.do) {
    case "add pod":
      return cluster.addPod(action.pod, action.wish);
    case "add container":
      return cluster.addContainer(action.container, action.pod);
    case "delete pod":
      return cluster.deletePod(action.pod);
    case "restart pod":
      return cluster.restartPod(action.pod);
    case "delete again":
      return cluster.deleteAgain(action.pod);
    case "check pod":
      return cluster.pod(action.pod).node.runtime.check(action.pod);
    case "agent":
      return changeAgent(cluster, action);
    case "controller":
      return present(cluster.kubernetes, "Kubernetes").controller[action.change]();
    case "api server":
      return present(cluster.kubernetes, "Kubernetes").apiServer[action.change]();
    case "add namespace":
    case "label":
    case "objects":
      return changeObjects(cluster, action);
    case "hold": {
      const { pair, port } = action;
      return cluster.held.hold(cluster.endpoint(pair.from), cluster.endpoint(pair.to), port);
    }
    case "run":
      return runCommand(cluster, action);
    default:
      return unreachable(action, "step");
  }
}

async function changeAgent(cluster: Cluster, { change, node: name }: Extract<Action, { do: "agent" }>): Promise<void> {
  const node = cluster.node(name);
  if (change === "kill") await node.killAgent();
  if (change === "stop" || change === "restart") await node.stopAgent();
  if (change === "start" || change === "restart") await node.startAgent();
}

type ObjectChange = Extract<Change, { do: "add namespace" | "label" | "objects" }>;

function changeObjects(cluster: Cluster, action: ObjectChange): Promise<void> {
  const kubernetes = present(cluster.kubernetes, "Kubernetes");
  if (action.do === "add namespace") return kubernetes.addNamespace(action.namespace, action.labels);
  if (action.do === "objects")
    return action.change === "apply" ? kubernetes.applyFile(action.file) : kubernetes.deleteFile(action.file);
  const { kind, name, labels } = action;
  return kind === "pod"
    ? kubernetes.labelPod(name, cluster.pod(name).namespace, labels)
    : kubernetes.labelNamespace(name, labels);
}

async function runCommand(cluster: Cluster, { place, command }: Extract<Action, { do: "run" }>): Promise<void> {
  const [program = "", ...args] = command.map((word) => cluster.expand(word, place));
  await execOk(program, args, { env: cluster.lab.env, netns: cluster.endpoint(place).netns });
}

/** Looks until all is as expected or the time is up; the verdict is that of the last look. */
async function hold(
  cluster: Cluster,
  expectation: Expectation,
  withinMs: number,
  signal: AbortSignal,
): Promise<Verdict> {
  let verdict = nothingWrong;
  let probes = 0;
  const ask = async (): Promise<string | undefined> => {
    verdict = await look(cluster, expectation);
    probes += verdict.probes;
    return verdict.problems[0];
  };
  // While something settles, a look may fail altogether; the next one counts.
  const again = async (): Promise<string | undefined> => {
    try {
      return await ask();
    } catch (error) {
      verdict = { ...nothingWrong, problems: [describe(error)] };
      return verdict.problems[0];
    }
  };
  if (withinMs === 0) await ask();
  else {
    const waiting = until(again, { what: "expectation", withinMs, everyMs: 100, signal });
    await waiting.catch((error: unknown) => {
      if (verdict.problems.length === 0) throw error; // it was not the expectation that failed
    });
  }
  return { ...verdict, probes };
}

function agentLogs(cluster: Cluster | undefined): ScenarioReport["logs"] {
  return [...(cluster?.nodes.values() ?? [])].map(({ layout, agentLog }) => ({
    node: layout.name,
    text: lastLines(agentLog, logLinesShown),
  }));
}

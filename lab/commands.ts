// The words of `fairlead lab`: each prints what it did for people and gives the program's exit code.

import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, Fault } from "../src/base/fault.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { demoTable } from "./demo.ts";
import { removeLab } from "./down.ts";
import { inNetns } from "./exec.ts";
import { type Family, nodeNetns, planCluster, podNetns } from "./layout.ts";
import { createLab, listLabs } from "./record.ts";
import { reportText, stepText } from "./report.ts";
import { runScenario } from "./run.ts";
import { parseScenario, type Scenario } from "./scenario.ts";
import { recordOf, statusText } from "./status.ts";
import { removeOrphan, startWarden } from "./warden.ts";

/** Writes one or more lines for people. */
export type Print = (text: string) => void;

const scenarioDirectory = fileURLToPath(new URL("scenarios/", import.meta.url));
/** What the demo shows, in this order. */
const demoFiles = ["first-pod.txt", "kubernetes.txt", "groups.txt"].map((name) => scenarioDirectory + name);

/** The lab that is meant where no name is given and none is up yet. */
const labNameDefault = "lab";

export interface LabUpOptions {
  name?: string;
  nodes?: number;
  family?: "dual" | "v4" | "v6";
  /** Pods on each node: p1, p2, … over all nodes. */
  pods?: number;
  /** The `fairlead` program whose agents run; that of this project if absent. */
  program?: string;
}

/** Makes a lab that stays up: machines, agents, a few pods. What was made is removed again if it fails or is interrupted. */
export async function labUp(options: LabUpOptions, print: Print): Promise<number> {
  const { name = labNameDefault, nodes = 2, family = "dual", pods = 1 } = options;
  const families: Family[] = family === "dual" ? [4, 6] : [family === "v4" ? 4 : 6];
  const layout = planCluster({ lab: name, nodes, families, gateway: true });
  const interrupted = interruption();
  const lab = createLab({ name });
  const warden = startWarden(lab);
  try {
    const cluster = await startCluster(lab, layout, { program: options.program });
    await addPods(cluster, pods, interrupted);
  } catch (error) {
    await removeLab(name);
    throw error;
  } finally {
    warden.dismiss();
  }
  lab.close();
  print(statusText(name));
  print(
    `\nrun something in a node or pod:   fairlead lab exec p1 -- ip address\nremove it:                        fairlead lab down ${name}`,
  );
  return 0;
}

async function addPods(cluster: Cluster, perNode: number, interrupted: AbortSignal): Promise<void> {
  const nodes = [...cluster.nodes.keys()];
  for (let number = 0; number < perNode * nodes.length; number += 1) {
    if (interrupted.aborted) throw new Fault("lab-failed", "interrupted");
    await cluster.addPod(`p${number + 1}`, { node: nodes[number % nodes.length] ?? "" });
  }
}

export interface LabExecOptions {
  name?: string;
  /** A node or a pod. */
  place: string;
  command: readonly string[];
}

/** Runs a command in a node's or pod's network, with this terminal; gives its exit code. */
export async function labExec({ name, place, command }: LabExecOptions): Promise<number> {
  const lab = chosenLab(name);
  const { things } = recordOf(lab);
  const names = new Set([podNetns(lab, place), nodeNetns(lab, place)]);
  const netns = things.find((thing) => thing.kind === "netns" && names.has(thing.name))?.name;
  if (netns === undefined)
    throw new Fault("lab-failed", `lab ${lab} has no node or pod ${place}; see: fairlead lab status`);
  const [program = "sh", ...args] = command;
  const [file, argv] = inNetns(netns, program, args);
  const child = spawn(file, argv, { stdio: "inherit" });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

/** Tells what is in a lab, or in all of them. */
export function labStatus({ name }: { name?: string }, print: Print): number {
  const labs = name === undefined ? listLabs() : [name];
  if (labs.length === 0) print("no lab is up; make one with: fairlead lab up");
  for (const lab of labs) print(statusText(lab));
  return 0;
}

/** Removes a lab, or whatever a crash left of it; twice is no error. */
export async function labDown({ name }: { name?: string }, print: Print): Promise<number> {
  const lab = name ?? (listLabs().length === 0 ? labNameDefault : chosenLab(name));
  const { found, processes, namespaces, notes } = await removeLab(lab);
  for (const note of notes) print(note);
  print(
    found
      ? `lab ${lab} removed: ${processes} processes, ${namespaces} namespaces, its directory`
      : `there is no lab ${lab}`,
  );
  return 0;
}

export interface LabRunOptions {
  /** Scenario files; all that the project has if empty. */
  files?: readonly string[];
  /** Leave the lab up where a scenario fails, and stop there. */
  keep?: boolean;
}

/** Runs scenarios one after the other, each in a lab of its own; 1 if any fails. */
export async function labRun({ files = [], keep = false }: LabRunOptions, print: Print): Promise<number> {
  await removeOrphans(print);
  const scenarios = (files.length === 0 ? allScenarios() : files).map(readScenario);
  const signal = interruption();
  let passed = 0;
  for (const [index, scenario] of scenarios.entries()) {
    if (signal.aborted) break;
    print(`${scenario.file}: ${scenario.title}`);
    const lab = `run${process.pid}x${index + 1}`;
    const report = await runScenario(scenario, { lab, signal, keep, onStep: (step) => print(stepText(step)) });
    print(reportText(report));
    if (report.ok) passed += 1;
    if (report.ok || !keep) continue;
    print(`the lab is still up; look with: fairlead lab status ${lab}, remove it with: fairlead lab down ${lab}`);
    break;
  }
  print(`${passed} of ${scenarios.length} scenarios passed${signal.aborted ? "; interrupted" : ""}`);
  return passed === scenarios.length ? 0 : 1;
}

/** Runs the demo's scenarios and tells a newcomer what each proved; 1 if any fails. */
export async function labDemo(print: Print): Promise<number> {
  await removeOrphans(print);
  const signal = interruption();
  let failed = 0;
  for (const [index, scenario] of demoFiles.map(readScenario).entries()) {
    if (signal.aborted) break;
    print(`${index === 0 ? "" : "\n"}${scenario.title}\n`);
    const report = await runScenario(scenario, { lab: `demo${process.pid}x${index + 1}`, signal });
    print(demoTable(report));
    if (report.ok) continue;
    print(`\n${reportText(report)}`);
    failed += 1;
  }
  return failed === 0 && !signal.aborted ? 0 : 1;
}

/** What was left by runs that were killed together with their wardens. A failure is told, and is no reason to stop. */
async function removeOrphans(print: Print): Promise<void> {
  for (const lab of listLabs().filter((name) => /^(?:demo|run)\d/.test(name))) {
    try {
      if (await removeOrphan(lab)) print(`removed lab ${lab}, which a killed run had left`);
    } catch (error) {
      print(`lab ${lab}, which a killed run has left, could not be removed: ${describe(error)}`);
    }
  }
}

/** Reads and parses a scenario file. */
export function readScenario(file: string): Scenario {
  if (!existsSync(file))
    throw new Fault("lab-failed", `there is no scenario ${file}; those of the project are in ${scenarioDirectory}`);
  return parseScenario(readFileSync(file, "utf8"), relative(process.cwd(), file));
}

/** The project's scenario files. */
export function allScenarios(): string[] {
  const names = readdirSync(scenarioDirectory).filter((name) => name.endsWith(".txt"));
  return names.sort().map((name) => scenarioDirectory + name);
}

/** The lab of that name, or the only one there is. */
function chosenLab(name: string | undefined): string {
  if (name !== undefined) return name;
  const labs = listLabs();
  const [only] = labs;
  if (only === undefined) throw new Fault("lab-failed", "no lab is up; make one with: fairlead lab up");
  if (labs.length > 1) throw new Fault("lab-failed", `there are labs ${labs.join(", ")}: say which`);
  return only;
}

/** Aborts at the first ^C or SIGTERM, so that what was made can be removed; the second one ends the program at once. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => controller.abort());
  return controller.signal;
}

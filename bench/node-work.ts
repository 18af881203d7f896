// What a node does beside ADD and DEL: start with its pods, collect what no runtime knows, clean up behind a pod.

import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { execOk } from "../lab/exec.ts";
import { until } from "../lab/waiting.ts";
import { collection, invocation, newPod, type Pod, verifyAdd, verifyDel } from "./plugins.ts";
import type { Run } from "./spawner.ts";
import { onStage, type Stage } from "./stage.ts";

export interface NodeWorkOptions {
  name: string;
  /** Pods of the node. */
  pods: number;
  /** How often the agent is killed and started again, with these pods and with none. */
  starts: number;
  /** Entries of GC's list; it knows half of the pods. */
  listed: number;
  /** Tracked connections of each pod whose removal is timed, and how many such pods. */
  flows: number;
  flowPods: number;
  signal: AbortSignal;
}

/** All in ms. */
export interface NodeWorkResult {
  start: number[];
  emptyStart: number[];
  collect: number;
  collectAgain: number;
  /** From the start of one pod's DEL until its link and its connections are gone. */
  gone: number[];
}

/** @throws Fault "lab-failed" where anything does not work */
export function measureNodeWork(options: NodeWorkOptions): Promise<NodeWorkResult> {
  const { name, flowPods, signal } = options;
  return onStage({ name, families: [4], blockSize: "large" }, async (stage) => {
    const emptyStart = await startTimes(stage, options);
    const gone: number[] = [];
    for (const pod of await stage.makePods("flows", flowPods)) {
      signal.throwIfAborted();
      gone.push(await timeOfRemoval(stage, pod, options));
    }
    const pods = await stage.makePods("many", options.pods);
    const added = await addAll(stage, pods);
    const start = await startTimes(stage, options);
    const [collect, collectAgain] = await collectTwice(stage, pods, options);
    await deleteAll(stage, pods, added);
    return { start, emptyStart, collect, collectAgain, gone };
  });
}

async function startTimes({ node }: Stage, { starts, signal }: NodeWorkOptions): Promise<number[]> {
  const times: number[] = [];
  for (let turn = 0; turn < starts; turn += 1) {
    signal.throwIfAborted();
    await node.killAgent();
    const startedMs = performance.now();
    await node.startAgent();
    times.push(performance.now() - startedMs);
  }
  return times;
}

async function addAll({ spawner, ours, lab }: Stage, pods: readonly Pod[]): Promise<Run[]> {
  const added = await spawner.burst(pods.map((pod) => invocation(ours, "ADD", pod)));
  for (const [index, run] of added.entries()) await verifyAdd(ours, present(pods[index], "pod"), run, lab.env);
  return added;
}

async function deleteAll(
  { spawner, ours, untilNoPodLink }: Stage,
  pods: readonly Pod[],
  added: readonly Run[],
): Promise<void> {
  const deleted = await spawner.burst(
    pods.map((pod, index) => invocation(ours, "DEL", pod, present(added[index], "result of ADD").stdout)),
  );
  for (const [index, run] of deleted.entries()) verifyDel(ours, present(pods[index], "pod"), run);
  await untilNoPodLink(ours);
}

/** GC with a list that keeps every other pod, the rest of it strangers; and once more, when there is nothing to remove. */
async function collectTwice(
  { spawner, ours, lab }: Stage,
  pods: readonly Pod[],
  { listed }: NodeWorkOptions,
): Promise<[number, number]> {
  const kept = pods.filter((_, index) => index % 2 === 0);
  const strangers = Array.from({ length: listed - kept.length }, () => newPod("none"));
  const gc = collection(ours, [...kept, ...strangers]);
  const times: number[] = [];
  for (const turn of ["first", "second"]) {
    const { exit, ms, stdout } = await spawner.run(gc);
    if (exit !== 0) throw new Fault("lab-failed", `the ${turn} GC failed: ${stdout.slice(0, 1000)}`);
    times.push(ms);
  }
  for (const [index, { netns }] of pods.entries()) {
    const links = await execOk("ip", ["-n", netns, "-oneline", "link", "show"], { env: lab.env });
    if (links.includes("eth0") !== (index % 2 === 0)) throw new Fault("lab-failed", `after GC, ${netns} has ${links}`);
  }
  return [present(times[0], "a time"), present(times[1], "a time")];
}

async function timeOfRemoval({ spawner, ours, lab }: Stage, pod: Pod, { flows }: NodeWorkOptions): Promise<number> {
  const { netns } = ours.node;
  const added = await spawner.run(invocation(ours, "ADD", pod));
  await verifyAdd(ours, pod, added, lab.env);
  const [, address = ""] = /"address":"([\d.]+)\//.exec(added.stdout) ?? [];
  const conntrack = (...words: string[]): Promise<string> =>
    execOk("ip", ["netns", "exec", netns, "conntrack", ...words], { env: lab.env });
  for (let port = 1; port <= flows; port += 1) {
    await conntrack(
      "-I",
      "-s",
      address,
      "-d",
      "172.30.0.12",
      "-p",
      "udp",
      "-t",
      "600",
      "--sport",
      String(port),
      "--dport",
      "53",
    );
  }
  const startedMs = performance.now();
  verifyDel(ours, pod, await spawner.run(invocation(ours, "DEL", pod, added.stdout)));
  const look = async (): Promise<string | undefined> => {
    const [links, tracked] = [
      await execOk("ip", ["-n", netns, "-oneline", "link", "show", "type", "veth"], { env: lab.env }),
      await conntrack("-L", "-s", address),
    ];
    if (/ fl\w{13}@/.test(links)) return "its link is there";
    return tracked.trim() === "" ? undefined : "connections of it are tracked";
  };
  await until(look, { what: `removal of ${address}`, withinMs: 10_000, everyMs: 2 });
  return performance.now() - startedMs;
}

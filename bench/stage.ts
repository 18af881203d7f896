// Where a bench runs: two equal machines of a lab, ours on one and the reference on the other, and a look at ours when all is over.

import { mkdirSync } from "node:fs";
import { auditNode, auditText } from "../lab/audit/audit.ts";
import { auditedNode } from "../lab/audit/lab-node.ts";
import { execOk } from "../lab/exec.ts";
import { type BlockSize, type Family, type NodeLayout, planCluster, podNetns } from "../lab/layout.ts";
import { makeMachines } from "../lab/machines.ts";
import { makeNetns } from "../lab/netns.ts";
import { createNode, type LabNode } from "../lab/node.ts";
import type { Lab } from "../lab/record.ts";
import { until } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { inOwnLab } from "./own-lab.ts";
import { newPod, ourPlugin, type Plugin, type Pod, referencePlugin } from "./plugins.ts";
import { type Spawner, startSpawner } from "./spawner.ts";

/** The name of the lab of `make bench`; its namespaces begin with flab-bench-. Two benches at once are refused by it. */
export const benchLab = "bench";

/** From a DEL's reply until its link is gone, which happens after the reply: what comes next must not pay for it. */
const settleWithinMs = 20_000;

export interface StageOptions {
  /** Name of the lab to make. */
  name: string;
  families: readonly Family[];
  blockSize?: BlockSize;
}

export interface Stage {
  lab: Lab;
  spawner: Spawner;
  /** The node whose agent serves ours. */
  node: LabNode;
  ours: Plugin;
  reference: Plugin;
  /** Fresh namespaces, as a runtime makes them. They stay until the end: their removal would go on behind the next measurement. */
  makePods: (name: string, count: number) => Promise<Pod[]>;
  /** Waits until the plugin's machine has no link but its own two. */
  untilNoPodLink: (plugin: Plugin) => Promise<void>;
}

/**
 * Makes the machines, lets `work` measure, and removes them again, whatever happens.
 * @throws Fault "lab-failed" where anything does not work, our node holds something when `work` is done, or another run of that
 * name is under way.
 */
export async function onStage<T>(options: StageOptions, work: (stage: Stage) => Promise<T>): Promise<T> {
  const { name, families, blockSize = "usual" } = options;
  return inOwnLab(name, async (lab, atEnd) => {
    const layout = planCluster({ lab: name, nodes: 2, families, gateway: true, blocks: blockSize });
    const [our, other] = [present(layout.nodes[0], "node 1"), present(layout.nodes[1], "node 2")];
    await makeMachines(lab, layout);
    const node = createNode(lab, our);
    await node.startAgent();
    mkdirSync(`${other.directory}/state`, { recursive: true, mode: 0o700 });
    // In the reference's machine, where it must run; the shim's way to its agent is a socket and leads there from anywhere.
    const spawner = startSpawner(lab, other.netns, lab.directory);
    atEnd(() => spawner.end());
    const result = await work({
      lab,
      spawner,
      node,
      ours: ourPlugin(our),
      reference: referencePlugin(other),
      makePods: (group, count) => makePods(lab, group, count),
      untilNoPodLink: (plugin) => untilNoPodLink(lab, plugin),
    });
    await refuseRemains(our, lab.env);
    return result;
  });
}

/** A plugin that leaves work undone would be fast for a bad reason: with its pods gone, our node must hold nothing of them. */
async function refuseRemains(our: NodeLayout, env: Lab["env"]): Promise<void> {
  const node = auditedNode(our, "runs");
  const foreignFiles = [...(node.foreignFiles ?? []), `${our.directory}/bench`];
  const left = await auditNode({ ...node, foreignFiles }, { env });
  if (left.length > 0) throw new Fault("lab-failed", auditText(our.name, left));
}

async function makePods(lab: Lab, name: string, count: number): Promise<Pod[]> {
  const pods: Pod[] = [];
  for (let index = 0; index < count; index += 1) {
    const netns = podNetns(lab.name, `${name}-${index}`);
    await makeNetns(lab, netns);
    pods.push(newPod(netns));
  }
  return pods;
}

async function untilNoPodLink(lab: Lab, { node: { name, netns } }: Plugin): Promise<void> {
  const look = async (): Promise<string | undefined> => {
    const text = await execOk("ip", ["-n", netns, "-oneline", "link", "show"], { env: lab.env });
    const links = [...text.matchAll(/^\d+: ([^:@]+)/gm)].map(([, link]) => link);
    const left = links.filter((link) => link !== "lo" && link !== "eth0");
    return left.length === 0 ? undefined : `${name} still has ${left.join(", ")}`;
  };
  await until(look, { what: "removal of the pods' links", withinMs: settleWithinMs, everyMs: 5 });
}

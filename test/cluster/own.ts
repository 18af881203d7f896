// Fairlead's own programs in a test cluster: who they are, whether they are rolled out, what an agent answers, how they are killed.

import { z } from "zod";
import { endProcesses, type ProcessId } from "../../lab/process.ts";
import { readJson } from "../../lab/json.ts";
import { until } from "../../lab/waiting.ts";
import { present } from "../../src/base/assert.ts";
import type { KubernetesCluster } from "./cluster.ts";
import type { ClusterNode } from "./node.ts";

export const system = "fairlead-system";
export const agents = "daemonset/fairlead-agent";
export const controllers = "deployment/fairlead-controller";

const rolledOutWithinS = 120;
/** From the end of a program until another serves in its place: a kubelet starts a container anew at once, the first time. */
const replacedWithinMs = 60_000;
/** Where an agent tells of itself, on its node. */
const statusSocket = "/run/fairlead/status.sock";

/** Settles when every agent, or controller, of the present template is Ready. */
export async function untilRolledOut({ kubectl }: KubernetesCluster, workload: string): Promise<void> {
  const args = ["--namespace", system, "rollout", "status", workload, `--timeout=${rolledOutWithinS}s`];
  await kubectl(args, { timeoutMs: (rolledOutWithinS + 10) * 1000 });
}

const podsSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), uid: z.string() }),
      spec: z.object({ nodeName: z.string() }),
      status: z.object({ containerStatuses: z.array(z.object({ restartCount: z.number() })).default([]) }),
    }),
  ),
});

export interface OwnPod {
  name: string;
  uid: string;
  node: string;
  restarts: number;
}

/** The pods of one of our programs, sorted by node. */
export async function ownPods({ kubectl }: KubernetesCluster, program: "agent" | "controller"): Promise<OwnPod[]> {
  const selector = `--selector=app.kubernetes.io/component=${program}`;
  const text = await kubectl(["--namespace", system, "get", "pods", selector, "--output=json"]);
  return readJson(podsSchema, text, `pods of ${program}`)
    .items.map(({ metadata, spec, status }) => ({
      name: metadata.name,
      uid: metadata.uid,
      node: spec.nodeName,
      restarts: status.containerStatuses.reduce((sum, { restartCount }) => sum + restartCount, 0),
    }))
    .toSorted((a, b) => (a.node < b.node ? -1 : 1));
}

/** What the agent of a node answers at a path of its read-only socket; also where it is not ready. @throws Fault "lab-failed" where none answers */
export function askAgent(node: ClusterNode, path: string): Promise<string> {
  const options = ["--silent", "--show-error", "--max-time", "5", "--unix-socket", statusSocket];
  return node.run("curl", [...options, `http://node${path}`]);
}

/** Settles when the agent of a node says that it serves. */
export function untilServing(node: ClusterNode): Promise<void> {
  const serves = async (): Promise<string | undefined> => {
    const said = await askAgent(node, "/readyz").catch((error: unknown) => String(error));
    return said.trim() === "ok" ? undefined : said;
  };
  return until(serves, { what: `agent of ${node.name}`, withinMs: replacedWithinMs, everyMs: 100 });
}

/** The process of one of our programs on a node. */
function processOf(node: ClusterNode, program: "agent" | "controller"): ProcessId | undefined {
  return node.podProcesses(`src/main.ts ${program} --config`)[0];
}

/** SIGKILLs one of our programs; settles when its kubelet, which needs no API server for it, has started another in its place. */
export async function killOwn(node: ClusterNode, program: "agent" | "controller"): Promise<void> {
  await endProcesses([present(processOf(node, program), `${program} of ${node.name}`)], 0);
  const replaced = async (): Promise<string | undefined> =>
    processOf(node, program) === undefined ? "there is none" : undefined;
  await until(replaced, { what: `a new ${program} on ${node.name}`, withinMs: replacedWithinMs, everyMs: 50 });
}

// Pods of a real cluster: from the API's "created" to running and to answering a ping from the other node, ours and the reference's in turn.

import { z } from "zod";
import { type Api, createApi } from "../lab/api.ts";
import { exec } from "../lab/exec.ts";
import { until } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { type KubernetesCluster, type Network, startKubernetes } from "../test/cluster/cluster.ts";
import { reasonAgainstFairlead } from "../test/cluster/network-fairlead.ts";
import { pod } from "../test/cluster/objects.ts";
import { buildUpstream } from "../test/cluster/upstream.ts";
import { inOwnLab } from "./own-lab.ts";

export interface PodTimes {
  /** Ms from the object's creation until its status says Running with an address. */
  running: number[];
  /** Ms until the other node has an answer from that address too. */
  pingable: number[];
}

export interface PodsOptions {
  /** Begins the labs' names. */
  name: string;
  pods: number;
  signal: AbortSignal;
  onStep: (words: string) => void;
}

interface Side {
  cluster: KubernetesCluster;
  api: Api;
  times: PodTimes;
}

const startedWithinMs = 60_000;
const lookEveryMs = 10;
const namespace = "default";

/**
 * Two clusters at once, so that both meet the same machine; one pod at a time, in turn.
 * @throws Fault "lab-failed" where a cluster cannot be had or a pod does not start
 */
export async function measurePods({
  name,
  pods,
  signal,
  onStep,
}: PodsOptions): Promise<Record<"ours" | "reference", PodTimes>> {
  const reason = buildUpstream() ?? reasonAgainstFairlead();
  if (reason !== undefined) throw new Fault("lab-failed", reason);
  return withCluster(`${name}ours`, "fairlead", (ours) =>
    withCluster(`${name}ptp`, "ptp", async (reference) => {
      for (let index = 0; index < pods; index += 1) {
        for (const side of index % 2 === 0 ? [ours, reference] : [reference, ours]) {
          signal.throwIfAborted();
          await measureOne(side, `pod-${index}`);
        }
        onStep(`${index + 1} pods`);
      }
      return { ours: ours.times, reference: reference.times };
    }),
  );
}

async function withCluster<T>(name: string, network: Network, work: (side: Side) => Promise<T>): Promise<T> {
  return inOwnLab(name, async (lab) => {
    const cluster = await startKubernetes(lab, { network, dns: false });
    const { plane } = cluster;
    const pki = plane.authority.directory;
    const api = createApi({
      socket: plane.socket,
      serverName: "localhost",
      authority: plane.authority.certificate,
      client: { certificate: `${pki}/admin.crt`, key: `${pki}/admin.key` },
      kept: 4,
    });
    const outcome = await work({ cluster, api, times: { running: [], pingable: [] } });
    await cluster.end();
    return outcome;
  });
}

const status = z.object({
  status: z.object({ phase: z.string().default(""), podIPs: z.array(z.object({ ip: z.string() })).default([]) }),
});

async function measureOne({ cluster, api, times }: Side, name: string): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const startedMs = performance.now();
  await api.must("POST", path, { ...pod(name, { node: "node-1" }), metadata: { name, namespace } });
  let address: string | undefined;
  await until(
    async () => {
      const { phase, podIPs } = status.parse(await api.must("GET", `${path}/${name}`)).status;
      address = phase === "Running" ? podIPs[0]?.ip : undefined;
      return address === undefined ? `it is ${phase}` : undefined;
    },
    { what: `pod ${name}`, withinMs: startedWithinMs, everyMs: lookEveryMs },
  );
  times.running.push(performance.now() - startedMs);
  const from = present(cluster.nodes[1], "the other node").layout.netns;
  // One answer is enough; without one it tries again by itself.
  const ping = ["-c1", "-i0.01", "-w10", present(address, "address")];
  const outcome = await exec("ping", ping, { env: cluster.lab.env, netns: from });
  if (outcome.code !== 0) throw new Fault("lab-failed", `pod ${name} does not answer ${from}: ${outcome.stdout}`);
  times.pingable.push(performance.now() - startedMs);
  await api.must("DELETE", `${path}/${name}`, { kind: "DeleteOptions", apiVersion: "v1", gracePeriodSeconds: 0 });
}

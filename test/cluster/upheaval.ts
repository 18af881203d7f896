// Upheaval in a real cluster: its programs are killed in turn and a node is emptied and comes back, while pods talk and must not notice.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { until } from "../../lab/waiting.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { deployment, pod, serverPort, service } from "./objects.ts";
import { askFromPod, makeScene, url } from "./scene.ts";
import type { Part } from "./suite.ts";
import { startTraffic } from "./traffic.ts";

const backWithinMs = 90_000;
const drainWithinMs = 120_000;

/** Settles when a node's kubelet renews its lease, which it does every 10 s; a state that stays it tells every five minutes only. */
function untilHeard(cluster: KubernetesCluster, name: string): Promise<void> {
  const since = new Date();
  const heard = async (): Promise<string | undefined> => {
    const path = "{.spec.renewTime}";
    const lease = ["get", "lease", name, "--namespace=kube-node-lease", `--output=jsonpath=${path}`];
    const renewed = await cluster.kubectl(lease);
    return new Date(renewed) > since ? undefined : `its lease was renewed at ${renewed}`;
  };
  return until(heard, { what: `word of ${name}`, withinMs: backWithinMs, everyMs: 250 });
}

/**
 * Does `work` while the API server is away, with controllers and scheduler; settles when they are back and every node was heard
 * of. They go too because their watches come back up to half a minute after the server does: till then they hold nodes for lost.
 */
export async function withoutServer(cluster: KubernetesCluster, work: () => Promise<void>): Promise<void> {
  const { plane, nodes } = cluster;
  const followers = ["kube-controller-manager", "kube-scheduler"] as const;
  for (const component of [...followers, "kube-apiserver"] as const) await plane.kill(component);
  try {
    await work();
  } finally {
    await plane.start("kube-apiserver");
    await plane.untilReady();
    for (const component of followers) await plane.start(component);
  }
  for (const { name } of nodes) await untilHeard(cluster, name);
}

/** Moves all pods off a node but those of daemons; it takes no more until it is uncordoned. */
export async function drain({ kubectl }: KubernetesCluster, name: string): Promise<void> {
  const options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", `--timeout=${drainWithinMs / 1000}s`];
  await kubectl(["drain", name, ...options], { timeoutMs: drainWithinMs + 10_000 });
}

export const upheavalTests: Part = (cluster) => {
  void test("kubelet, containerd, kube-proxy and the API server are killed in turn: pods lose no packet and no connection", async (t) => {
    const scene = await makeScene(cluster(), t, "killed");
    const { nodes, plane } = cluster();
    const traffic = await startTraffic(scene);
    for (const program of ["kubelet", "containerd", "kube-proxy"] as const) {
      for (const node of nodes) {
        await node.kill(program);
        await node.start(program);
      }
      // A pod that starts afterwards is the proof that the whole chain works again.
      await scene.apply(
        ...nodes.map(({ name }) => pod(`after-${program}-${name}`, { node: name, labels: { app: program } })),
      );
      await scene.untilReady(nodes.length, program);
    }
    await plane.kill("kube-apiserver");
    await plane.start("kube-apiserver");
    await plane.untilReady();
    for (const { name } of nodes) await untilHeard(cluster(), name);
    await cluster().untilNodesReady();
    t.diagnostic(`${await traffic.settle()} echo requests, none lost`);
  });

  void test("a node is drained, its programs die, it comes back and takes pods again; pods elsewhere do not notice", async (t) => {
    const scene = await makeScene(cluster(), t, "drained");
    const node = cluster().node("node-2");
    await scene.apply(deployment("web", 4), service("web", "web"), pod("client", { node: "node-1" }));
    await scene.untilReady(5);
    await drain(cluster(), node.name);
    t.after(() => cluster().kubectl(["uncordon", node.name]));
    const moved = await scene.untilReady(4, "web");
    assert.deepEqual([...new Set(moved.map((one) => one.node))], ["node-1"]);
    for (const program of ["kubelet", "containerd"] as const) await node.kill(program);
    await node.start("containerd");
    await node.start("kubelet");
    await untilHeard(cluster(), node.name);
    await cluster().untilNodesReady();
    await cluster().kubectl(["uncordon", node.name]);
    await scene.apply(pod("back", { node: node.name }));
    const [back] = await scene.untilReady(1, "back");
    for (const family of cluster().options.families) {
      const urls = [url(present(back?.addresses[family], "address"), serverPort, "/hostname")];
      assert.deepEqual(await askFromPod(scene, "client", urls), ["back"]);
    }
  });
};

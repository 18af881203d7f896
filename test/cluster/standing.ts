// Whether a node is Ready, as its runtime and its kubelet have it of Fairlead's STATUS: at its start, without its agent, without the API server, without a free address.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { z } from "zod";
import { readJson } from "../../lab/json.ts";
import { all, until } from "../../lab/waiting.ts";
import { present } from "../../src/base/assert.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { askNetwork, type NetworkWatch, watchNetwork } from "./cri.ts";
import { manifestText } from "./network-fairlead.ts";
import type { ClusterNode } from "./node.ts";
import { pod } from "./objects.ts";
import { agents, askAgent, killOwn, ownPods, system, untilRolledOut, untilServing } from "./own.ts";
import { makeScene } from "./scene.ts";
import type { Part } from "./suite.ts";
import { startTraffic } from "./traffic.ts";
import { withoutServer } from "./upheaval.ts";

const toldWithinMs = 60_000;
/** A kubelet asks its runtime every 5 s; the watch does twice a second at most. */
const answersMin = 12;
/** An address rests for 60 s, then a kubelet tries again: at most every 20 s or so. */
const startedWithinMs = 150_000;

const nodeSchema = z.object({
  status: z.object({
    conditions: z.array(
      z.object({ type: z.string(), status: z.string(), message: z.string(), lastTransitionTime: z.string() }),
    ),
  }),
});

interface Standing {
  status: string;
  message: string;
  since: string;
}

/** The condition Ready of a node, as the API server has it. */
async function readyOf({ kubectl }: KubernetesCluster, name: string): Promise<Standing> {
  const text = await kubectl(["get", "node", name, "--output=json"]);
  const { conditions } = readJson(nodeSchema, text, name).status;
  const { status, message, lastTransitionTime } = present(
    conditions.find(({ type }) => type === "Ready"),
    `Ready of ${name}`,
  );
  return { status, message, since: lastTransitionTime };
}

/** Settles when kubelet has told the API server that the node is NotReady, with what the runtime itself says, which is like `reason`. */
function untilNotReady(cluster: KubernetesCluster, node: ClusterNode, reason: RegExp): Promise<void> {
  const told = async (): Promise<string | undefined> => {
    const { ready, message } = await askNetwork(node);
    const { status, message: seen } = await readyOf(cluster, node.name);
    const right = !ready && reason.test(message) && status === "False" && seen.includes(message);
    return right ? undefined : `containerd: ${ready} ${message}; kubelet: ${status} ${seen}`;
  };
  return until(told, { what: `NotReady ${node.name}`, withinMs: toldWithinMs, everyMs: 500, mayFail: true });
}

/** How often the node's kubelet has found its runtime's network not ready: it looks every 5 s. */
function timesNotReady(node: ClusterNode): number {
  return readFileSync(node.log("kubelet"), "utf8").split("Container runtime network not ready").length - 1;
}

export const startTests: Part = (cluster) => {
  void test("a node is NotReady until its agent serves, with the runtime's reason; the agent says what it waits for", async () => {
    const { nodes, plane, plan, options } = cluster();
    for (const node of nodes) await untilNotReady(cluster(), node, /cni plugin not initialized/);
    const { allocateNodeCidrs } = options;
    const text = manifestText({ allocateNodeCidrs, plan });
    assert.match(text, /^ {2}replicas: 2$/m);
    const input = text.replace(/^ {2}replicas: 2$/m, "  replicas: 0");
    await plane.kubectl(["apply", "--filename=-"], { input });
    for (const node of nodes) {
      const waits = async (): Promise<string | undefined> => {
        const said = await askAgent(node, "/readyz").catch((error: unknown) => String(error));
        return /^waits for status\.blocks of NodeNetwork .* fairlead-controller/.test(said) ? undefined : said;
      };
      await until(waits, { what: `waiting agent of ${node.name}`, withinMs: toldWithinMs, everyMs: 250 });
      await untilNotReady(cluster(), node, /cni plugin not initialized/);
    }
    await cluster().installNetwork();
    await cluster().untilNodesReady();
    for (const node of nodes) assert.deepEqual(await askNetwork(node), { ready: true, message: "" });
  });

  void test("a node that has lost its agent is NotReady with our plugin's reason, others are not, and it is Ready again with its agent", async () => {
    const [stays, loses] = [cluster().node("node-1"), cluster().node("node-2")];
    const since = await readyOf(cluster(), stays.name);
    const select = async (host: string | null): Promise<void> => {
      const nodeSelector = { "kubernetes.io/hostname": host };
      // OnDelete: the agent that stays is not replaced for being of another template.
      const updateStrategy = host === null ? { type: "RollingUpdate" } : { type: "OnDelete", rollingUpdate: null };
      const patch = JSON.stringify({ spec: { updateStrategy, template: { spec: { nodeSelector } } } });
      await cluster().kubectl(["--namespace", system, "patch", agents, `--patch=${patch}`]);
    };
    await select(stays.name);
    try {
      await untilNotReady(
        cluster(),
        loses,
        /Fairlead agent of this node cannot be reached at \/run\/fairlead\/cni\.sock/,
      );
    } finally {
      await select(null);
    }
    await untilRolledOut(cluster(), agents);
    await cluster().untilNodesReady();
    assert.deepEqual(await readyOf(cluster(), stays.name), since);
  });
};

export const standingTests: Part = (cluster) => {
  void test("agents die while the API server is away: they serve again, no node turns NotReady, no packet is lost", async (t) => {
    const scene = await makeScene(cluster(), t, "outage");
    const { nodes } = cluster();
    // A container that ends again is started later each time, and a node whose agent stays away is rightly NotReady.
    for (const { name, restarts } of await ownPods(cluster(), "agent")) assert.equal(restarts, 0, name);
    const traffic = await startTraffic(scene);
    const before = await all(nodes.map(({ name }) => readyOf(cluster(), name)));
    const counted = nodes.map(timesNotReady);
    const watches = nodes.map(watchNetwork);
    await withoutServer(cluster(), async () => {
      for (const node of nodes) {
        const killedMs = performance.now();
        await killOwn(node, "agent");
        await untilServing(node);
        t.diagnostic(`${node.name} is served again after ${((performance.now() - killedMs) / 1000).toFixed(1)} s`);
      }
      for (const [index, node] of nodes.entries()) await untilAskedAgain(node, present(watches[index], "watch"));
    });
    for (const [index, node] of nodes.entries()) {
      const { asked, notReady } = await present(watches[index], "watch").stop();
      assert.deepEqual(notReady, [], `what containerd of ${node.name} was told in ${asked} answers`);
      assert.equal(timesNotReady(node), counted[index], `kubelet of ${node.name} has not found its network not ready`);
      assert.deepEqual(await readyOf(cluster(), node.name), before[index]);
    }
    t.diagnostic(`${await traffic.settle()} echo requests, none lost`);
  });
};

/** Settles when the runtime has answered as often since as takes longer than a kubelet's own questions are apart. */
function untilAskedAgain(node: ClusterNode, watch: NetworkWatch): Promise<void> {
  const first = watch.asked();
  const asked = async (): Promise<string | undefined> =>
    watch.asked() - first >= answersMin ? undefined : `it has answered ${watch.asked() - first} times`;
  return until(asked, { what: `containerd of ${node.name}`, withinMs: toldWithinMs, everyMs: 250 });
}

/** What a block of /27 has for pods: not its first, its second and its last. */
const addressesOf27 = 29;

export const fullPoolTests: Part = (cluster) => {
  void test("a node without a free address stays Ready; a pod that finds none is told so, and starts when one is free", async (t) => {
    assert.equal(cluster().plan.blockPrefixes[4], 27);
    const scene = await makeScene(cluster(), t, "full");
    const node = cluster().node("node-2");
    const before = await readyOf(cluster(), node.name);
    const counted = timesNotReady(node);
    const watch = watchNetwork(node);
    const names = Array.from({ length: addressesOf27 }, (_, index) => `fill-${index}`);
    const filling = { node: node.name, args: ["pause"], labels: { app: "fill" } };
    await scene.apply(...names.map((name) => pod(name, filling)));
    await scene.untilReady(names.length, "fill");
    await scene.apply(pod("late", { node: node.name }));
    const selector = "--field-selector=involvedObject.name=late,reason=FailedCreatePodSandBox";
    const refused = async (): Promise<string | undefined> => {
      const said = await scene.kubectl(["get", "events", selector, "--output=jsonpath={.items[*].message}"]);
      return said.includes(`no free IPv4 address`) ? undefined : `its events say ${JSON.stringify(said)}`;
    };
    await until(refused, { what: "word of the full node", withinMs: toldWithinMs, everyMs: 500 });
    assert.match(await askAgent(node, "/metrics"), /^fairlead_leases\{family="4",state="free"\} 0$/m);
    await scene.kubectl(["delete", "pod", present(names[0], "pod"), "--wait=true"]);
    await scene.untilReady(1, "late", startedWithinMs);
    const { asked, notReady } = await watch.stop();
    assert.deepEqual(notReady, [], `what containerd was told in ${asked} answers`);
    assert.equal(timesNotReady(node), counted);
    assert.deepEqual(await readyOf(cluster(), node.name), before);
  });
};

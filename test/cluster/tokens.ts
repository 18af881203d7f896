// The tokens of Fairlead's agents in a real cluster: they are replaced under way, and the old ones are worth nothing then.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../lab/waiting.ts";
import { describe } from "../../src/base/fault.ts";
import { present } from "../../src/base/assert.ts";
import { callApi } from "./api-call.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { untilAgreed } from "./identities.ts";
import { pod } from "./objects.ts";
import { askAgent, type OwnPod, ownPods, system } from "./own.ts";
import { makeScene } from "./scene.ts";
import type { Part } from "./suite.ts";
import { withoutServer } from "./upheaval.ts";

const tokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/** An API server remembers for 10 s that a token was good; a kubelet renews volumes within a minute or two of its start. */
const changedWithinMs = 150_000;
const followedWithinMs = 60_000;

/** The token that an agent finds in its file now. */
async function tokenOf({ kubectl }: KubernetesCluster, { name }: OwnPod): Promise<string> {
  return (await kubectl(["--namespace", system, "exec", name, "--", "cat", tokenFile])).trim();
}

/** What the API server says to somebody with this token who asks for what agents ask for. */
async function statusWith({ plane }: KubernetesCluster, token: string): Promise<number> {
  const { status } = await callApi(plane, { method: "GET", path: "/api/v1/nodes", token });
  return status;
}

/** How many pods of its node an agent knows, and whether its watches run. */
async function watched(cluster: KubernetesCluster, node: string): Promise<{ pods: number; failing: string[] }> {
  const lines = (await askAgent(cluster.node(node), "/metrics")).split("\n");
  const failing = lines.filter((line) => /^fairlead_kube_watch_failures\{.*\} [^0]/.test(line));
  const pods = lines.find((line) => line.startsWith('fairlead_kube_objects{kind="Pod"} '));
  return { pods: Number(present(pods, "pods that the agent knows").split(" ")[1]), failing };
}

export const tokenTests: Part = (cluster) => {
  void test("agents' tokens are revoked and replaced: the old ones are refused, agents go on writing and watching without a restart", async (t) => {
    const scene = await makeScene(cluster(), t, "tokens");
    const { nodes, kubectl } = cluster();
    const before = await ownPods(cluster(), "agent");
    assert.equal(before.length, nodes.length);
    const old = new Map<string, string>();
    for (const agent of before) {
      const token = await tokenOf(cluster(), agent);
      old.set(agent.uid, token);
      assert.equal(await statusWith(cluster(), token), 200);
    }
    // A token names its account's uid.
    for (const verb of ["delete", "create"]) {
      await kubectl(["--namespace", system, verb, "serviceaccount", "fairlead-agent"]);
    }
    for (const token of old.values()) {
      const refused = async (): Promise<string | undefined> => {
        const status = await statusWith(cluster(), token);
        return status === 401 ? undefined : `the API server says ${status}`;
      };
      await until(refused, { what: "end of an old token", withinMs: changedWithinMs, everyMs: 250 });
    }
    // A kubelet that starts asks for new tokens; it would do so by itself when the old ones are near their end.
    for (const node of nodes) {
      await node.kill("kubelet");
      await node.start("kubelet");
    }
    for (const agent of before) {
      const changed = (): Promise<string | undefined> =>
        tokenOf(cluster(), agent).then(
          (token) => (token === old.get(agent.uid) ? "it is the old one" : undefined),
          describe, // the kubelet that has just started may not know its pods yet
        );
      await until(changed, { what: `a new token of ${agent.name}`, withinMs: changedWithinMs, everyMs: 500 });
    }
    // Watches under way were let in by the old tokens: all are opened anew.
    await withoutServer(cluster(), async () => {});
    for (const { name } of nodes) {
      const runs = async (): Promise<string | undefined> => (await watched(cluster(), name)).failing[0];
      await until(runs, { what: `watches of ${name}'s agent`, withinMs: followedWithinMs, everyMs: 250 });
    }
    const known = new Map<string, number>();
    for (const { name } of nodes) known.set(name, (await watched(cluster(), name)).pods);
    await scene.apply(...nodes.map(({ name }) => pod(`with-${name}`, { node: name })));
    await scene.untilReady(nodes.length);
    for (const { name } of nodes) {
      const told = async (): Promise<string | undefined> => {
        const { pods } = await watched(cluster(), name);
        return pods === (known.get(name) ?? 0) + 1 ? undefined : `it knows ${pods} pods, and knew ${known.get(name)}`;
      };
      await until(told, { what: `a pod's event for ${name}'s agent`, withinMs: followedWithinMs, everyMs: 250 });
    }
    await untilAgreed(cluster());
    for (const token of old.values()) assert.equal(await statusWith(cluster(), token), 401);
    assert.deepEqual(await ownPods(cluster(), "agent"), before, "the same agents, none restarted");
  });
};

// Nodes and pods in a real cluster: a node reaches the pods, pods on the node's own network keep its address, and everybody reaches them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { deployment, pod, serverPort } from "./objects.ts";
import { addressOf, answers, askFromPod, curlArguments, makeScene, url } from "./scene.ts";
import type { Part } from "./suite.ts";

/** Beside those of the usual test server, which another test's pod may hold on the same node. */
const hostPort = 18_080;

export const hostNetworkTests: Part = (cluster) => {
  void test("every node reaches every pod", async (t) => {
    const scene = await makeScene(cluster(), t, "nodes");
    await scene.apply(deployment("web", 6));
    const pods = await scene.untilReady(6);
    for (const family of cluster().options.families) {
      const urls = pods.map(({ addresses }) => url(present(addresses[family], "address"), serverPort, "/hostname"));
      for (const node of cluster().nodes) {
        const text = await node.run("curl", curlArguments(urls));
        assert.deepEqual(
          answers(text, urls),
          pods.map(({ name }) => name),
          `from ${node.name} by IPv${family}`,
        );
      }
    }
  });

  void test("a pod on its node's network has the node's addresses, and reaches pods and is reached", async (t) => {
    const scene = await makeScene(cluster(), t, "hostnetwork");
    const args = ["netexec", `--http-port=${hostPort}`, "--udp-port=-1"];
    const container = { readinessProbe: { tcpSocket: { port: hostPort }, periodSeconds: 1 } };
    const hosts = cluster().nodes.map(({ name }) =>
      pod(`host-${name}`, { node: name, hostNetwork: true, args, container }),
    );
    await scene.apply(...hosts, ...cluster().nodes.map(({ name }) => pod(`pod-${name}`, { node: name })));
    const seen = await scene.untilReady(2 * hosts.length);
    const named = (name: string) =>
      present(
        seen.find((one) => one.name === name),
        name,
      );
    for (const { name, layout } of cluster().nodes) {
      assert.deepEqual(named(`host-${name}`).addresses, layout.addresses);
      for (const family of cluster().options.families) {
        const own = present(named(`pod-${name}`).addresses[family], "address");
        const hostUrls = cluster().nodes.map((to) =>
          url(present(to.layout.addresses[family], "address"), hostPort, "/clientip"),
        );
        const callers = (await askFromPod(scene, `pod-${name}`, hostUrls)).map(addressOf);
        assert.deepEqual(
          callers,
          hostUrls.map(() => own),
          "no translation from a pod to a node",
        );
        const podUrls = cluster().nodes.map((to) =>
          url(present(named(`pod-${to.name}`).addresses[family], "address"), serverPort, "/hostname"),
        );
        assert.deepEqual(
          await askFromPod(scene, `host-${name}`, podUrls),
          cluster().nodes.map((to) => `pod-${to.name}`),
        );
      }
    }
  });
};

// Services in a real cluster: every kind of address of theirs, from a pod, a node and a machine outside, in every family.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { execOk } from "../../lab/exec.ts";
import { until } from "../../lab/waiting.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { deployment, pod, service } from "./objects.ts";
import { addressOf, answers, askFromPod, curlArguments, makeScene, type Scene, url } from "./scene.ts";
import type { Part } from "./suite.ts";

/** Backends of one service, and questions: that one of four is never chosen in so many has a chance of one in 10^7. */
const backends = 4;
const questions = 60;
/** From a change of endpoints until every node's proxy follows. */
const followWithinMs = 60_000;

/** The addresses of a service, one for each family. */
async function addressesOf(scene: Scene, name: string): Promise<string[]> {
  const text = await scene.field(`service/${name}`, "{.spec.clusterIPs[*]}");
  const addresses = text.split(" ");
  assert.equal(addresses.length, scene.cluster.options.families.length, `addresses of ${name}: ${text}`);
  return addresses;
}

const repeated = (address: string, path: string, port = 80): string[] =>
  Array.from({ length: questions }, () => url(address, port, path));

/** What a machine that is no pod gets: a node, or the one outside. */
async function askFromMachine(cluster: KubernetesCluster, netns: string, urls: readonly string[]): Promise<string[]> {
  return answers(await execOk("curl", curlArguments(urls), { env: cluster.lab.env, netns }), urls);
}

/** Proxies learn of endpoints a moment after the pods are Ready: settles when an address answers from the place that `ask` asks from. */
function untilServed(what: string, ask: () => Promise<unknown>): Promise<void> {
  const served = (): Promise<string | undefined> =>
    ask().then(
      () => undefined,
      (error: unknown) => String(error),
    );
  return until(served, { what, withinMs: followWithinMs, everyMs: 100 });
}

/** Settles when all of `names`, and no others, have answered: a proxy hears of one pod after the other. */
async function untilAllServe(what: string, names: readonly string[], ask: () => Promise<string[]>): Promise<void> {
  const seen = new Set<string>();
  await untilServed(what, async () => {
    for (const name of await ask()) seen.add(name);
    if (seen.size < names.length) throw new Error(`only ${[...seen].join(" ")} have answered`);
  });
  assert.deepEqual([...seen].toSorted(), names, what);
}

export const serviceTests: Part = (cluster) => {
  void test("a service's own address leads to all its pods, from pods and nodes, by TCP and UDP", async (t) => {
    const scene = await makeScene(cluster(), t, "clusterip");
    await scene.apply(deployment("web", backends), service("web", "web"), pod("client", { node: "node-1" }));
    const names = (await scene.untilReady(backends + 1)).map(({ name }) => name).filter((name) => name !== "client");
    for (const address of await addressesOf(scene, "web")) {
      const urls = repeated(address, "/hostname");
      await untilAllServe("the service from a pod", names, () => askFromPod(scene, "client", urls));
      for (const { layout } of cluster().nodes) {
        const ask = (): Promise<string[]> => askFromMachine(cluster(), layout.netns, urls);
        await untilAllServe(`the service from ${layout.name}`, names, ask);
      }
      await untilServed("the service by UDP", async () => {
        const word = await scene.run("client", "nc", ["-u", "-w1", address, "81"], "hostname");
        assert.ok(names.includes(word), `${JSON.stringify(word)} by UDP`);
      });
    }
  });

  void test("a node port is served on every node, also to a machine outside", async (t) => {
    const scene = await makeScene(cluster(), t, "nodeport");
    await scene.apply(
      deployment("web", 1, { node: "node-1" }),
      service("web", "web", { type: "NodePort" }),
      service("local", "web", { type: "NodePort", externalTrafficPolicy: "Local" }),
    );
    const [server] = await scene.untilReady(1);
    const outside = present(cluster().plan.outside, "outside");
    const port = Number(await scene.field("service/web", "{.spec.ports[0].nodePort}"));
    const localPort = Number(await scene.field("service/local", "{.spec.ports[0].nodePort}"));
    for (const family of cluster().options.families) {
      for (const { layout } of cluster().nodes) {
        const address = present(layout.addresses[family], "address");
        const urls = [url(address, port, "/hostname")];
        await untilServed(`port ${port} of ${address}`, () => askFromMachine(cluster(), outside.netns, urls));
        assert.deepEqual(await askFromMachine(cluster(), outside.netns, urls), [server?.name]);
      }
      const address = present(cluster().node("node-1").layout.addresses[family], "address");
      const urls = [url(address, localPort, "/clientip")];
      await untilServed(`port ${localPort} of ${address}`, () => askFromMachine(cluster(), outside.netns, urls));
      const [seen = ""] = await askFromMachine(cluster(), outside.netns, urls);
      assert.equal(
        addressOf(seen),
        outside.addresses[family],
        "with externalTrafficPolicy Local the caller stays visible",
      );
    }
  });

  void test("a pod reaches itself through its own service", async (t) => {
    const scene = await makeScene(cluster(), t, "hairpin");
    await scene.apply(pod("alone"), service("alone", "alone"));
    await scene.untilReady(1);
    for (const address of await addressesOf(scene, "alone")) {
      const urls = repeated(address, "/hostname");
      await untilServed("its own service", () => askFromPod(scene, "alone", urls.slice(0, 1)));
      assert.deepEqual([...new Set(await askFromPod(scene, "alone", urls))], ["alone"]);
    }
  });

  void test("session affinity keeps a caller at one pod; without it the caller meets several", async (t) => {
    const scene = await makeScene(cluster(), t, "affinity");
    const sticky = { sessionAffinity: "ClientIP" };
    await scene.apply(
      deployment("web", backends),
      service("web", "web"),
      service("sticky", "web", sticky),
      pod("client"),
    );
    await scene.untilReady(backends + 1);
    for (const [name, severalExpected] of [
      ["web", true],
      ["sticky", false],
    ] as const) {
      for (const address of await addressesOf(scene, name)) {
        const urls = repeated(address, "/hostname");
        const met = new Set<string>();
        await untilServed(name, async () => {
          for (const answered of await askFromPod(scene, "client", urls)) met.add(answered);
          if (severalExpected && met.size < 2) throw new Error(`only ${[...met].join(" ")} has answered`);
        });
        assert.equal(met.size > 1, severalExpected, `${name} at ${address} led to ${[...met].join(", ")}`);
      }
    }
  });

  void test("a service follows its pods: one that is gone is asked no more", async (t) => {
    const scene = await makeScene(cluster(), t, "follow");
    await scene.apply(deployment("web", 2), service("web", "web"), pod("client"));
    await scene.untilReady(3);
    await scene.kubectl(["delete", "pod", "--selector=app=web", "--wait=true", "--timeout=60s"]);
    const names = (await scene.untilReady(2, "web")).map(({ name }) => name);
    for (const address of await addressesOf(scene, "web")) {
      const urls = repeated(address, "/hostname");
      const onlyNew = async (): Promise<void> => {
        assert.deepEqual([...new Set(await askFromPod(scene, "client", urls))].toSorted(), names);
      };
      await untilServed("the new pods and no others", onlyNew);
    }
  });
};

// Workloads in a real cluster: pods that come back under the same name, and pods that end by themselves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { until } from "../../lab/waiting.ts";
import { type KubeObject, pod, podSpec, serverPort, service } from "./objects.ts";
import { askFromPod, makeScene, url } from "./scene.ts";
import type { Part } from "./suite.ts";

const replicas = 2;
const rounds = 3;
const completions = 10;
const finishedWithinMs = 120_000;
const replacedWithinMs = 60_000;

function statefulSet(name: string): KubeObject {
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name },
    spec: {
      serviceName: name,
      replicas,
      podManagementPolicy: "Parallel",
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec() },
    },
  };
}

export const workloadTests: Part = (cluster) => {
  void test("a stateful pod that is deleted by force comes back under its name, with an address that is its own", async (t) => {
    const scene = await makeScene(cluster(), t, "stateful");
    await scene.apply(statefulSet("db"), service("db", "db", { clusterIP: "None" }), pod("client"));
    await scene.untilReady(replicas + 1);
    for (let round = 0; round < rounds; round += 1) {
      const before = present((await scene.pods("db"))[0], "db-0");
      await scene.kubectl(["delete", "pod", before.name, "--force", "--grace-period=0"]);
      const replaced = async (): Promise<string | undefined> => {
        const after = (await scene.pods("db")).find(({ name }) => name === before.name);
        return after !== undefined && after.uid !== before.uid && after.ready ? undefined : "not yet";
      };
      await until(replaced, { what: `a new ${before.name}`, withinMs: replacedWithinMs, everyMs: 100 });
      const pods = await scene.untilReady(replicas + 1);
      for (const family of cluster().options.families) {
        const addresses = pods.map(({ addresses }) => present(addresses[family], "address"));
        assert.equal(new Set(addresses).size, pods.length, "no address twice");
        const stateful = pods.filter(({ name }) => name !== "client");
        const urls = stateful.map(({ addresses }) =>
          url(present(addresses[family], "address"), serverPort, "/hostname"),
        );
        assert.deepEqual(
          await askFromPod(scene, "client", urls),
          stateful.map(({ name }) => name),
        );
      }
    }
  });

  void test("a job's pods do their work over the network and end", async (t) => {
    const scene = await makeScene(cluster(), t, "jobs");
    await scene.apply(pod("web"), service("web", "web"));
    await scene.untilReady(1);
    const address = await scene.field("service/web", "{.spec.clusterIP}");
    const command = [
      "curl",
      "--globoff",
      "--silent",
      "--show-error",
      "--fail",
      "--retry",
      "5",
      "--retry-all-errors",
      url(address, 80, "/hostname"),
    ];
    const spec = { ...podSpec({ command }), restartPolicy: "Never" };
    const template = { metadata: { labels: { app: "work" } }, spec };
    const job = { completions, parallelism: completions / 2, backoffLimit: 0, template };
    await scene.apply({ apiVersion: "batch/v1", kind: "Job", metadata: { name: "work" }, spec: job });
    await scene.kubectl(["wait", "--for=condition=complete", "job/work", `--timeout=${finishedWithinMs / 1000}s`], {
      timeoutMs: finishedWithinMs + 10_000,
    });
    const pods = await scene.pods("work");
    assert.deepEqual(
      pods.map(({ phase }) => phase),
      Array.from({ length: completions }, () => "Succeeded"),
    );
    assert.equal(await scene.kubectl(["logs", "--selector=app=work", "--tail=-1"]), "web".repeat(completions));
  });
};

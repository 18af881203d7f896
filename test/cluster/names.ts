// Names in a real cluster: pods find services and each other through the cluster's own resolver.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../lab/waiting.ts";
import { deployment, pod, service } from "./objects.ts";
import { clusterDomain } from "./plan.ts";
import { makeScene, type Scene } from "./scene.ts";
import type { Part } from "./suite.ts";

/** From a change until resolvers tell of it: they keep answers for a second. */
const toldWithinMs = 60_000;

const recordTypes = { 4: "A", 6: "AAAA" } as const;

/** What the resolver of a pod says, by UDP or TCP; sorted. */
async function lookUp(
  scene: Scene,
  name: string,
  type: "A" | "AAAA",
  extra: readonly string[] = [],
): Promise<string[]> {
  const text = await scene.run("client", "dig", ["+short", "+search", "+time=2", "+tries=1", ...extra, name, type]);
  return text
    .split("\n")
    .filter((line) => line !== "")
    .toSorted();
}

function untilTold(
  scene: Scene,
  name: string,
  type: "A" | "AAAA",
  expected: readonly string[],
  ...extra: string[]
): Promise<void> {
  const told = async (): Promise<string | undefined> => {
    const seen = await lookUp(scene, name, type, extra).catch((error: unknown) => [String(error)]);
    return JSON.stringify(seen) === JSON.stringify(expected) ? undefined : `it is told to be ${JSON.stringify(seen)}`;
  };
  return until(told, { what: `${name} ${type} ${JSON.stringify(expected)}`, withinMs: toldWithinMs, everyMs: 200 });
}

export const nameTests: Part = (cluster) => {
  void test("a service's name is its address, by UDP and TCP, short and in full", async (t) => {
    const scene = await makeScene(cluster(), t, "names");
    await scene.apply(deployment("web", 1), service("web", "web"), pod("client"));
    await scene.untilReady(2);
    const addresses = (await scene.field("service/web", "{.spec.clusterIPs[*]}")).split(" ");
    for (const [index, family] of cluster().options.families.entries()) {
      const expected = [addresses[index] ?? ""];
      const full = `web.${scene.namespace}.svc.${clusterDomain}`;
      for (const name of ["web", `web.${scene.namespace}`, full]) {
        await untilTold(scene, name, recordTypes[family], expected);
        await untilTold(scene, name, recordTypes[family], expected, "+tcp");
      }
    }
    assert.match(await scene.run("client", "curl", ["--silent", "--max-time", "5", "http://web/hostname"]), /^web-/);
  });

  void test("a headless service's name is its pods' addresses, and follows them", async (t) => {
    const scene = await makeScene(cluster(), t, "headless");
    await scene.apply(deployment("web", 3), service("web", "web", { clusterIP: "None" }), pod("client"));
    await scene.untilReady(4);
    for (const replicas of [3, 1]) {
      await scene.kubectl(["scale", "deployment/web", `--replicas=${replicas}`]);
      const pods = await scene.untilReady(replicas, "web");
      for (const family of cluster().options.families) {
        const expected = pods.map(({ addresses }) => String(addresses[family])).toSorted();
        await untilTold(scene, "web", recordTypes[family], expected);
      }
    }
  });
};

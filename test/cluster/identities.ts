// Whom Fairlead takes pods for in a real cluster: what its agents publish is held against the API server's own pods.

import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { readJson } from "../../lab/json.ts";
import { until } from "../../lab/waiting.ts";
import { describe } from "../../src/base/fault.ts";
import { present } from "../../src/base/assert.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { nodePaths } from "./node-config.ts";
import { pod, podSpec } from "./objects.ts";
import { makeScene } from "./scene.ts";
import type { Part } from "./suite.ts";

/** Pods of tests before, which still end, count too. */
const publishedWithinMs = 120_000;
const startedWithinMs = 60_000;
const rounds = 3;

const podsSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({
        namespace: z.string(),
        name: z.string(),
        uid: z.string(),
        deletionTimestamp: z.string().optional(),
      }),
      spec: z.object({ hostNetwork: z.boolean().default(false) }),
      status: z.object({ phase: z.string(), podIPs: z.array(z.object({ ip: z.string() })).default([]) }),
    }),
  ),
});

const endpointsSchema = z.object({
  items: z.array(
    z.object({
      endpoints: z.array(
        z.object({ namespace: z.string(), name: z.string(), uid: z.string(), addresses: z.array(z.string()) }),
      ),
    }),
  ),
});

interface Known {
  namespace: string;
  name: string;
  uid: string;
  addresses: readonly string[];
}

const line = ({ namespace, name, uid, addresses }: Known): string =>
  `${namespace}/${name} ${uid} ${addresses.toSorted().join(" ")}`;

/** What every agent publishes, one line an attachment. */
async function published({ kubectl }: KubernetesCluster): Promise<string[]> {
  const text = await kubectl(["get", "nodeendpoints", "--output=json"]);
  const { items } = readJson(endpointsSchema, text, "NodeEndpoints");
  return items.flatMap(({ endpoints }) => endpoints.map(line)).toSorted();
}

/** What the API server says of running pods that have a network of their own. */
async function running({ kubectl }: KubernetesCluster): Promise<string[]> {
  const text = await kubectl(["get", "pods", "--all-namespaces", "--output=json"]);
  const { items } = readJson(podsSchema, text, "pods");
  return items
    .filter(
      ({ metadata, spec, status }) =>
        !spec.hostNetwork && status.phase === "Running" && metadata.deletionTimestamp === undefined,
    )
    .map(({ metadata: { namespace, name, uid }, status }) =>
      line({ namespace, name, uid, addresses: status.podIPs.map(({ ip }) => ip) }),
    )
    .toSorted();
}

/** Settles when both say the same. */
export async function untilAgreed(cluster: KubernetesCluster): Promise<void> {
  await until(
    async () => {
      const [told, runs] = [await published(cluster), await running(cluster)];
      const extra = told.filter((one) => !runs.includes(one));
      const missing = runs.filter((one) => !told.includes(one));
      return extra.length + missing.length === 0
        ? undefined
        : `published alone: ${extra.join(", ")}; running alone: ${missing.join(", ")}`;
    },
    { what: "NodeEndpoints as the pods are", withinMs: publishedWithinMs, everyMs: 500 },
  );
}

export const identityTests: Part = (cluster) => {
  void test("agents publish exactly the pods that run, also when one is made anew under its name while the old one still ends", async (t) => {
    const scene = await makeScene(cluster(), t, "identities");
    await scene.apply(pod("again", { node: "node-1" }), pod("stays", { node: "node-2" }));
    await scene.untilReady(2);
    await untilAgreed(cluster());
    for (let round = 0; round < rounds; round += 1) {
      const before = present((await scene.pods("again"))[0], "the pod").uid;
      await scene.kubectl(["delete", "pod", "again", "--force", "--grace-period=0"]);
      await scene.apply(pod("again", { node: "node-1" }));
      await scene.untilReady(2);
      assert.notEqual(present((await scene.pods("again"))[0], "the pod").uid, before);
    }
    await untilAgreed(cluster());
  });

  void test("a static pod is published under the uid of its mirror, and no more when its file is gone", async () => {
    const node = present(cluster().nodes[0], "a node");
    const file = `${nodePaths.staticPods}/static-web.json`;
    const manifest = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "static-web", namespace: "default" },
      spec: podSpec(),
    };
    const mirror = `static-web-${node.name}`;
    await node.run("mkdir", ["-p", nodePaths.staticPods]);
    await node.write(file, JSON.stringify(manifest));
    try {
      const args = ["wait", "pod", mirror, "--for=condition=Ready", "--timeout=5s"];
      const isReady = (): Promise<string | undefined> =>
        cluster()
          .kubectl(args)
          .then(() => undefined, describe);
      await until(isReady, { what: mirror, withinMs: startedWithinMs, everyMs: 500 });
      await untilAgreed(cluster());
      assert.ok((await published(cluster())).some((one) => one.startsWith(`default/${mirror} `)));
    } finally {
      await node.run("rm", ["-f", file]);
    }
    await until(
      async () => ((await published(cluster())).some((one) => one.includes(mirror)) ? "it is published" : undefined),
      { what: "end of the static pod", withinMs: startedWithinMs, everyMs: 500 },
    );
  });
};

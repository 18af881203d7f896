// The controller tells nodes who resolves names, where its configuration says that pods may ask them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withLeader } from "../../../test/controller/replica.ts";
import { createTenants } from "../../../test/controller/tenants.ts";
import type { WorldConfig } from "../../../test/controller/world.ts";

const none: WorldConfig = { assign: "cluster", ranges: [], serviceRanges: [] };
const resolvers = { namespace: "shop", podLabels: { "k8s-app": "kube-dns" }, addresses: [] };

test("with policy.allowDns there is a slice of the resolvers, though no policy names them; without it there is none", async () => {
  for (const [config, slices] of [
    [
      { ...none, policy: { allowDns: resolvers } },
      { "pods k8s-app=kube-dns of namespaces kubernetes.io/metadata.name=shop": { "0": ["10.4.1.2"] } },
    ],
    [none, {}],
  ] as const) {
    await withLeader(config, async (world, leader) => {
      const tenants = await createTenants(world);
      await tenants.addNode("n1", "10.4.1.0/24");
      await tenants.addPod("dns", { labels: { "k8s-app": "kube-dns" }, node: "n1", addresses: ["10.4.1.2"] });
      await tenants.addPod("web", { labels: { app: "web" }, node: "n1", addresses: ["10.4.1.3"] });
      await leader.catchUp();
      await leader.passOf("memberships");
      assert.deepEqual(await tenants.slices(), slices);
    });
  }
});

// Which changes ask which loop for a pass: what decides about members does, what kubelets write all the time does not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createTenants, shop } from "../../test/controller/tenants.ts";
import { createWorld } from "../../test/controller/world.ts";
import { until } from "../../test/until.ts";
import { connect } from "../kube/connect.ts";
import { pods } from "../kube/core-objects.ts";
import { followAll, type LoopName } from "./caches.ts";

test("of a pod's changes those ask for memberships that can change one", async (t) => {
  const world = await createWorld({ assign: "cluster", ranges: [], serviceRanges: [] });
  const kube = connect({ address: { server: world.server.url }, userAgent: "controller" });
  const stop = new AbortController();
  const tenants = await createTenants(world);
  await tenants.addNode("n1", "10.4.1.0/24");
  await tenants.addPod("a", { node: "n1" });
  const asked: LoopName[] = [];
  const caches = followAll(kube, (loop) => asked.push(loop), stop.signal);
  t.after(async () => {
    stop.abort();
    await Promise.all(Object.values(caches).map((cache) => cache.done));
    await kube.close();
    await world.close();
  });
  await until("all is listed", () => Object.values(caches).every((cache) => cache.synced()));

  const ref = { name: "a", namespace: shop };
  /** Makes the change; gives which loops were asked until it was known. */
  const after = async (what: string, change: () => Promise<unknown>): Promise<LoopName[]> => {
    asked.length = 0;
    await change();
    const { metadata } = await kube.get(pods, ref);
    await until(what, () => caches.pods.get(ref)?.metadata.resourceVersion === metadata.resourceVersion);
    return [...asked];
  };
  const status = (part: object) => (): Promise<unknown> =>
    kube.patch(pods, ref, { type: "merge", body: { status: part } }, { subresource: "status" });
  assert.deepEqual(await after("an address", status({ podIP: "10.4.1.2" })), []);
  assert.deepEqual(await after("it runs", status({ phase: "Running" })), []);
  assert.deepEqual(await after("a label", () => tenants.label("a", { app: "web" })), ["memberships"]);
  assert.deepEqual(await after("its end", status({ phase: "Failed" })), ["memberships"]);
});

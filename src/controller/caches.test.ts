// Which changes ask which loop for a pass: what decides about members does, what kubelets write all the time does not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createTenants, shop, type Tenants } from "../../test/controller/tenants.ts";
import { createWorld } from "../../test/controller/world.ts";
import { until } from "../../test/until.ts";
import { connect } from "../kube/connect.ts";
import type { Kube, KubeObject } from "../kube/contract.ts";
import { nodes, pods } from "../kube/core-objects.ts";
import { breakGlassAnnotation } from "../policy/break-glass.ts";
import { followAll, type LoopName } from "./caches.ts";

interface Scene {
  tenants: Tenants;
  kube: Kube;
  /** Makes the change; gives which loops were asked until it was known. */
  after: (change: () => Promise<unknown>) => Promise<LoopName[]>;
}

/** A cluster with a node and a pod, which is followed. */
async function withFollowed(work: (scene: Scene) => Promise<void>): Promise<void> {
  const world = await createWorld({ assign: "cluster", ranges: [], serviceRanges: [] });
  const kube = connect({ address: { server: world.server.url }, userAgent: "controller" });
  const stop = new AbortController();
  const tenants = await createTenants(world);
  await tenants.addNode("n1", "10.4.1.0/24");
  await tenants.addPod("a", { node: "n1" });
  const asked: LoopName[] = [];
  const caches = followAll(kube, (loop) => asked.push(loop), stop.signal);
  const versions = (objects: readonly KubeObject[]): string =>
    objects.map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`).join();
  const after = async (change: () => Promise<unknown>): Promise<LoopName[]> => {
    asked.length = 0;
    await change();
    const [podsNow, nodesNow] = [(await kube.list(pods)).items, (await kube.list(nodes)).items];
    await until(
      "the change is known",
      () => versions(caches.pods.all()) === versions(podsNow) && versions(caches.nodes.all()) === versions(nodesNow),
    );
    return [...asked];
  };
  try {
    await until("all is listed", () => Object.values(caches).every((cache) => cache.synced()));
    await work({ tenants, kube, after });
  } finally {
    stop.abort();
    await Promise.all(Object.values(caches).map((cache) => cache.done));
    await kube.close();
    await world.close();
  }
}

test("of a pod's changes those ask for memberships that can change one", () =>
  withFollowed(async ({ kube, tenants, after }) => {
    const ref = { name: "a", namespace: shop };
    const status = (part: object) => (): Promise<unknown> =>
      kube.patch(pods, ref, { type: "merge", body: { status: part } }, { subresource: "status" });
    assert.deepEqual(await after(status({ podIP: "10.4.1.2" })), [], "an address");
    assert.deepEqual(await after(status({ phase: "Running" })), [], "it runs");
    assert.deepEqual(await after(() => tenants.label("a", { app: "web" })), ["memberships"], "a label");
    assert.deepEqual(await after(status({ phase: "Failed" })), ["memberships"], "its end");
  }));

test("break-glass of a node asks for the events about it, and for the status of groups; its kubelet's annotations ask for nothing", () =>
  withFollowed(async ({ kube, after }) => {
    const annotate = (key: string) => (): Promise<unknown> =>
      kube.patch(nodes, { name: "n1" }, { type: "merge", body: { metadata: { annotations: { [key]: "soon" } } } });
    assert.deepEqual(await after(annotate("volumes.kubernetes.io/controller-managed-attach-detach")), []);
    assert.deepEqual(await after(annotate(breakGlassAnnotation)), ["break-glass", "memberships"]);
  }));

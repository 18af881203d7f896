// What is collected behind the API: dependents, namespaces, old events; and what is not.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Obj, type Wire, look, made, metadata, names, openWire } from "../../test/kube-wire.ts";
import { until } from "../../test/until.ts";
import { startApiServer } from "./server.ts";

const configMaps = "/api/v1/namespaces/default/configmaps";

async function started(t: TestContext): Promise<Wire> {
  const server = await startApiServer();
  const wire = openWire({ url: server.url });
  t.after(async () => {
    await wire.close();
    await server.close();
  });
  return wire;
}

const owner = (object: Obj, kind: string): Obj => ({
  apiVersion: "v1",
  kind,
  name: metadata(object)["name"],
  uid: metadata(object)["uid"],
});
const owned = (name: string, ...ownerReferences: Obj[]): Obj => ({ metadata: { name, ownerReferences } });
const list = async (wire: Wire): Promise<string[]> => names((await wire.call("GET", configMaps)).body);

void test("what a node owns goes with it, once its last owner is gone", async (t) => {
  const wire = await started(t);
  const [a, b] = [await made(wire, "/api/v1/nodes", owned("a")), await made(wire, "/api/v1/nodes", owned("b"))];
  await made(wire, configMaps, owned("of-a", owner(a, "Node")));
  await made(wire, configMaps, owned("of-both", owner(a, "Node"), owner(b, "Node")));
  const child = await made(wire, configMaps, owned("of-b", owner(b, "Node")));
  await made(wire, configMaps, owned("of-of-b", owner(child, "ConfigMap")));
  await made(wire, configMaps, owned("of-none"));
  await wire.call("DELETE", "/api/v1/nodes/a");
  await until("a's own is gone", async () => !(await list(wire)).includes("of-a"));
  assert.deepEqual(await list(wire), ["of-b", "of-both", "of-none", "of-of-b"]);
  await wire.call("DELETE", "/api/v1/nodes/b");
  await until("b's are gone, down to the last", async () => (await list(wire)).join() === "of-none");
});

void test("an object whose owner never was is collected", async (t) => {
  const wire = await started(t);
  await made(wire, configMaps, owned("a", { apiVersion: "v1", kind: "Node", name: "ghost", uid: "no-such-uid" }));
  await until("it is gone", async () => (await list(wire)).length === 0);
});

void test("orphans stay; in the foreground the owner waits for what it owns", async (t) => {
  const wire = await started(t);
  const a = await made(wire, configMaps, owned("a"));
  await made(wire, configMaps, owned("of-a", owner(a, "ConfigMap")));
  await wire.call("DELETE", `${configMaps}/a?propagationPolicy=Orphan`);
  await until("a is gone", async () => (await list(wire)).join() === "of-a");
  assert.equal(metadata((await wire.call("GET", `${configMaps}/of-a`)).body)["ownerReferences"], undefined);

  const b = await made(wire, configMaps, owned("b"));
  const held = owned("of-b", owner(b, "ConfigMap"));
  (held["metadata"] as Obj)["finalizers"] = ["fairlead.dev/test"];
  await made(wire, configMaps, held);
  await wire.call("DELETE", `${configMaps}/b`, { body: { propagationPolicy: "Foreground" } });
  await until(
    "its own is marked",
    async () => metadata((await wire.call("GET", `${configMaps}/of-b`)).body)["deletionTimestamp"] !== undefined,
  );
  assert.equal((await wire.call("GET", `${configMaps}/b`)).status, 200, "it waits");
  await wire.call("PATCH", `${configMaps}/of-b`, { body: { metadata: { finalizers: null } } });
  await until("both are gone", async () => (await list(wire)).join() === "of-a");
});

void test("a namespace goes with all that lives in it, and waits for what is held", async (t) => {
  const wire = await started(t);
  const path = "/api/v1/namespaces/space";
  await made(wire, "/api/v1/namespaces", { metadata: { name: "space" } });
  await made(wire, `${path}/configmaps`, { metadata: { name: "a", finalizers: ["fairlead.dev/test"] } });
  await made(wire, `${path}/pods`, { metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "i" }] } });
  await wire.call("DELETE", path);
  await until("the pod is gone", async () => (await wire.call("GET", `${path}/pods/p`)).status === 404);
  assert.equal(look((await wire.call("GET", path)).body, "status", "phase"), "Terminating");
  await wire.call("PATCH", `${path}/configmaps/a`, { body: { metadata: { finalizers: null } } });
  await until("the namespace is gone", async () => (await wire.call("GET", path)).status === 404);
});

void test("events of more than an hour ago are forgotten", async (t) => {
  const wire = await started(t);
  const events = "/api/v1/namespaces/default/events";
  const event = (name: string, lastTimestamp: string): Obj => ({
    metadata: { name },
    involvedObject: { kind: "Node", name: "a" },
    lastTimestamp,
  });
  await made(wire, events, event("old", "2020-01-01T00:00:00Z"));
  await made(wire, events, event("new", new Date().toISOString()));
  // A pass begins with the next change that concerns it.
  await made(wire, configMaps, owned("ghostly", { apiVersion: "v1", kind: "Node", name: "ghost", uid: "no-such-uid" }));
  await until("the old one is gone", async () => names((await wire.call("GET", events)).body).join() === "new");
});

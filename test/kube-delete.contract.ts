// How objects go: at once, when asked for by uid, held by finalizers, or after a pod's grace.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { refused } from "./kube-objects.contract.ts";
import { type Obj, type Wire, look, made, metadata, names, testNamespace, textOf, version } from "./kube-wire.ts";

const pod = (name: string, part: Obj = {}): Obj => ({
  metadata: { name },
  spec: { nodeName: "node-1", containers: [{ name: "c", image: "i" }], ...part },
});

export function testDeletion(name: string, wire: () => Wire): void {
  const at = async (t: TestContext, plural: string): Promise<string> =>
    `/api/v1/namespaces/${await testNamespace(wire(), t)}/${plural}`;

  test(`${name}: an object without finalizers is gone at once`, async (t) => {
    const path = await at(t, "configmaps");
    const object = await made(wire(), path, { metadata: { name: "a" } });
    const gone = await wire().call("DELETE", `${path}/a`);
    assert.deepEqual([gone.status, gone.body["kind"], gone.body["status"]], [200, "Status", "Success"]);
    assert.deepEqual(gone.body["details"], { name: "a", kind: "configmaps", uid: metadata(object)["uid"] });
    refused(await wire().call("DELETE", `${path}/a`), 404, "NotFound");
  });

  test(`${name}: preconditions that do not hold keep the object`, async (t) => {
    const path = await at(t, "configmaps");
    const object = await made(wire(), path, { metadata: { name: "a" } });
    for (const preconditions of [{ uid: "another" }, { resourceVersion: "1" }]) {
      refused(await wire().call("DELETE", `${path}/a`, { body: { preconditions } }), 409, "Conflict");
    }
    const preconditions = { uid: metadata(object)["uid"], resourceVersion: version(object) };
    assert.equal((await wire().call("DELETE", `${path}/a`, { body: { preconditions } })).status, 200);
    const odd = { propagationPolicy: "Sometimes" };
    await made(wire(), path, { metadata: { name: "b" } });
    refused(await wire().call("DELETE", `${path}/b`, { body: odd }), 422, "Invalid");
  });

  test(`${name}: a finalizer holds the object until it is taken away`, async (t) => {
    const path = await at(t, "configmaps");
    const finalizer = "fairlead.dev/test";
    await made(wire(), path, { metadata: { name: "a", finalizers: [finalizer] } });
    const waits = await wire().call("DELETE", `${path}/a`);
    assert.equal(waits.status, 200);
    assert.match(textOf(waits.body, "metadata", "deletionTimestamp"), /Z$/);
    const again = await wire().call("DELETE", `${path}/a`);
    assert.equal(version(again.body), version(waits.body), "a second DELETE changes nothing");
    const more = { metadata: { finalizers: [finalizer, "fairlead.dev/other"] } };
    const refusal = await wire().call("PATCH", `${path}/a`, { body: more });
    assert.match(refused(refusal, 422, "Invalid"), /no new finalizers can be added if the object is being deleted/);
    assert.equal((await wire().call("PATCH", `${path}/a`, { body: { data: { still: "writable" } } })).status, 200);
    const released = await wire().call("PATCH", `${path}/a`, { body: { metadata: { finalizers: null } } });
    assert.equal(released.status, 200);
    refused(await wire().call("GET", `${path}/a`), 404, "NotFound");
  });

  test(`${name}: a pod on a node stays until its kubelet deletes it without grace`, async (t) => {
    const path = await at(t, "pods");
    const created = await made(wire(), path, pod("a", { terminationGracePeriodSeconds: 20 }));
    assert.equal(look(created, "status", "phase"), "Pending");
    const marked = await wire().call("DELETE", `${path}/a`);
    assert.deepEqual([marked.status, marked.body["kind"]], [200, "Pod"]);
    assert.equal(metadata(marked.body)["deletionGracePeriodSeconds"], 20);
    const ahead = Date.parse(textOf(marked.body, "metadata", "deletionTimestamp")) - Date.now();
    assert.ok(ahead > 10_000 && ahead < 30_000, `deletion is due in ${ahead} ms`);
    const longer = await wire().call("DELETE", `${path}/a?gracePeriodSeconds=60`);
    assert.equal(version(longer.body), version(marked.body), "grace is never made longer");
    const shorter = await wire().call("DELETE", `${path}/a`, { body: { gracePeriodSeconds: 5 } });
    assert.equal(metadata(shorter.body)["deletionGracePeriodSeconds"], 5);
    assert.equal((await wire().call("GET", `${path}/a`)).status, 200);
    const body = { gracePeriodSeconds: 0, preconditions: { uid: metadata(created)["uid"] } };
    assert.equal((await wire().call("DELETE", `${path}/a`, { body })).status, 200);
    refused(await wire().call("GET", `${path}/a`), 404, "NotFound");
  });

  test(`${name}: a pod that has no node or has ended goes at once`, async (t) => {
    const path = await at(t, "pods");
    await made(wire(), path, { metadata: { name: "a" }, spec: { containers: [{ name: "c", image: "i" }] } });
    await wire().call("DELETE", `${path}/a`);
    refused(await wire().call("GET", `${path}/a`), 404, "NotFound");
    await made(wire(), path, pod("b"));
    await wire().call("PATCH", `${path}/b/status`, { body: { status: { phase: "Succeeded" } } });
    await wire().call("DELETE", `${path}/b`);
    refused(await wire().call("GET", `${path}/b`), 404, "NotFound");
    const moved = await made(wire(), path, pod("c"));
    const elsewhere = { ...moved, spec: { ...(look(moved, "spec") as Obj), nodeName: "node-2" } };
    refused(await wire().call("PUT", `${path}/c`, { body: elsewhere }), 422, "Invalid");
    refused(await wire().call("POST", path, { body: { metadata: { name: "d" }, spec: {} } }), 422, "Invalid");
  });

  test(`${name}: a collection is deleted by what is selected`, async (t) => {
    const path = await at(t, "configmaps");
    for (const [each, app] of [
      ["a", "x"],
      ["b", "y"],
      ["c", "x"],
    ] as const)
      await made(wire(), path, { metadata: { name: each, labels: { app } } });
    const gone = await wire().call("DELETE", `${path}?labelSelector=app%3Dx`);
    assert.equal(gone.status, 200);
    assert.deepEqual(names((await wire().call("GET", `${path}?labelSelector=app`)).body), ["b"]);
  });

  test(`${name}: nothing new comes into a namespace that is being deleted`, async (t) => {
    const path = await at(t, "configmaps");
    const space = path.split("/")[4] ?? "";
    await made(wire(), path, { metadata: { name: "held", finalizers: ["fairlead.dev/test"] } });
    const marked = await wire().call("DELETE", `/api/v1/namespaces/${space}`);
    assert.deepEqual([marked.status, look(marked.body, "status", "phase")], [200, "Terminating"]);
    const late = await wire().call("POST", path, { body: { metadata: { name: "late" } } });
    assert.match(refused(late, 403, "Forbidden"), /because it is being terminated$/);
    assert.equal(look(late.body, "details", "causes", 0, "reason"), "NamespaceTerminating");
    await wire().call("PATCH", `${path}/held`, { body: { metadata: { finalizers: null } } });
    refused(await wire().call("DELETE", "/api/v1/namespaces/default"), 403, "Forbidden");
  });
}

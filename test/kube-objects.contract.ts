// What an API server does with single objects: create, read, replace, patch, delete, and how it refuses.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Obj,
  type Reply,
  type Wire,
  look,
  made,
  madeForTest,
  metadata,
  nameOf,
  testNamespace,
  textOf,
  uniqueName,
  version,
} from "./kube-wire.ts";

const nodes = "/api/v1/nodes";

/** Asserts a Status of this code and reason, and gives its message. */
export function refused({ status, body }: Reply, code: number, reason: string): string {
  assert.equal(status, code, JSON.stringify(body));
  assert.deepEqual(
    [body["kind"], body["apiVersion"], body["status"], body["code"], body["reason"]],
    ["Status", "v1", "Failure", code, reason],
    JSON.stringify(body),
  );
  return textOf(body, "message");
}

const causes = ({ body }: Reply): Obj[] => (look(body, "details", "causes") ?? []) as Obj[];

export function testObjects(name: string, wire: () => Wire): void {
  const configMaps = async (t: Parameters<typeof testNamespace>[1]): Promise<string> =>
    `/api/v1/namespaces/${await testNamespace(wire(), t)}/configmaps`;

  test(`${name}: a created object gets uid, version and time; reading gives the same`, async (t) => {
    const path = await configMaps(t);
    const object = await made(wire(), path, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "a", labels: { app: "x" }, uid: "mine", creationTimestamp: "2001-01-01T00:00:00Z" },
      data: { key: "value" },
    });
    assert.match(textOf(object, "metadata", "uid"), /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    assert.match(textOf(object, "metadata", "creationTimestamp"), /^20(?!01)\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.match(version(object), /^\d+$/);
    assert.equal(metadata(object)["generation"], undefined, "configmaps count none");
    const read = await wire().call("GET", `${path}/a`);
    assert.equal(read.status, 200);
    assert.deepEqual(without(read.body), without(object));
    assert.deepEqual([look(object, "data"), metadata(object)["labels"]], [{ key: "value" }, { app: "x" }]);
  });

  test(`${name}: refusals are Status objects that name the thing`, async (t) => {
    const path = await configMaps(t);
    await made(wire(), path, { metadata: { name: "a" } });
    const again = await wire().call("POST", path, { body: { metadata: { name: "a" } } });
    assert.match(refused(again, 409, "AlreadyExists"), /^configmaps "a" already exists$/);
    assert.deepEqual(look(again.body, "details"), { name: "a", kind: "configmaps" });
    const missing = await wire().call("GET", `${path}/none`);
    assert.equal(refused(missing, 404, "NotFound"), 'configmaps "none" not found');
    const lease = await wire().call("GET", "/apis/coordination.k8s.io/v1/namespaces/default/leases/none");
    assert.equal(refused(lease, 404, "NotFound"), 'leases.coordination.k8s.io "none" not found');
    assert.deepEqual(look(lease.body, "details"), { name: "none", group: "coordination.k8s.io", kind: "leases" });
    const nowhere = await wire().call("GET", "/apis/none.example/v1/things");
    assert.deepEqual([nowhere.status, nowhere.body], [404, { text: "404 page not found\n" }]);
    const elsewhere = await wire().call("POST", "/api/v1/namespaces/not-there/configmaps", {
      body: { metadata: { name: "a" } },
    });
    assert.equal(refused(elsewhere, 404, "NotFound"), 'namespaces "not-there" not found');
    const wrongName = await wire().call("POST", path, { body: { metadata: { name: "Not_a_name" } } });
    assert.match(
      refused(wrongName, 422, "Invalid"),
      /^ConfigMap "Not_a_name" is invalid: metadata.name: Invalid value/,
    );
    assert.deepEqual(
      causes(wrongName).map(({ reason, field }) => [reason, field]),
      [["FieldValueInvalid", "metadata.name"]],
    );
    const wrongLabel = await wire().call("POST", path, { body: { metadata: { name: "b", labels: { a: "-" } } } });
    refused(wrongLabel, 422, "Invalid");
    refused(await wire().call("POST", path, { body: "{not json" }), 400, "BadRequest");
    refused(
      await wire().call("POST", path, { body: { kind: "Pod", apiVersion: "v1", metadata: {} } }),
      400,
      "BadRequest",
    );
    const versioned = { metadata: { name: "c", resourceVersion: "1" } };
    assert.equal((await wire().call("POST", path, { body: versioned })).status, 500, "its own words for it");
    const key = await wire().call("POST", path, { body: { metadata: { name: "d" }, data: { "a/b": "" } } });
    assert.match(refused(key, 422, "Invalid"), /a valid config key must consist of/);
    refused(await wire().call("POST", path, { body: "a: 1", type: "text/plain" }), 415, "UnsupportedMediaType");
  });

  test(`${name}: generateName makes names that differ`, async (t) => {
    const path = await configMaps(t);
    const [a, b] = [await made(wire(), path, generated()), await made(wire(), path, generated())];
    for (const each of [a, b]) assert.match(nameOf(each), /^gen-[a-z0-9]{5}$/);
    assert.notEqual(metadata(a)["name"], metadata(b)["name"]);
    const long = await made(wire(), path, { metadata: { generateName: "x".repeat(70) } });
    assert.equal(nameOf(long).length, 63);
  });

  test(`${name}: PUT with a stale version is a conflict and changes nothing`, async (t) => {
    const path = await configMaps(t);
    const first = await made(wire(), path, { metadata: { name: "a" }, data: { n: "1" } });
    const second = await wire().call("PUT", `${path}/a`, { body: { ...first, data: { n: "2" } } });
    assert.equal(second.status, 200);
    assert.notEqual(version(second.body), version(first));
    const stale = await wire().call("PUT", `${path}/a`, { body: { ...first, data: { n: "3" } } });
    assert.match(refused(stale, 409, "Conflict"), /the object has been modified; please apply your changes/);
    assert.deepEqual(look((await wire().call("GET", `${path}/a`)).body, "data"), { n: "2" });
    const blind = await wire().call("PUT", `${path}/a`, { body: { metadata: { name: "a" }, data: { n: "4" } } });
    assert.equal(blind.status, 200, "without a version it overwrites, of this kind");
    assert.equal(metadata(blind.body)["uid"], metadata(first)["uid"]);
    const other = await wire().call("PUT", `${path}/a`, { body: { metadata: { name: "a", uid: "another" } } });
    refused(other, 409, "Conflict");
    refused(await wire().call("PUT", `${path}/b`, { body: { metadata: { name: "b" } } }), 404, "NotFound");
    refused(await wire().call("PUT", `${path}/a`, { body: { metadata: { name: "b" } } }), 400, "BadRequest");
  });

  test(`${name}: a write that changes nothing makes no new version`, async (t) => {
    const path = await configMaps(t);
    const first = await made(wire(), path, { metadata: { name: "a" }, data: { n: "1" } });
    const same = await wire().call("PUT", `${path}/a`, { body: first });
    const patched = await wire().call("PATCH", `${path}/a`, { body: { data: { n: "1" } } });
    assert.deepEqual([version(same.body), version(patched.body)], [version(first), version(first)]);
  });

  test(`${name}: dry run answers and keeps nothing`, async (t) => {
    const path = await configMaps(t);
    const dry = await wire().call("POST", `${path}?dryRun=All`, { body: { metadata: { name: "a" } } });
    assert.equal(dry.status, 201);
    refused(await wire().call("GET", `${path}/a`), 404, "NotFound");
    const kept = await made(wire(), path, { metadata: { name: "b" } });
    await wire().call("PATCH", `${path}/b?dryRun=All`, { body: { data: { n: "1" } } });
    await wire().call("DELETE", `${path}/b?dryRun=All`);
    assert.equal(version((await wire().call("GET", `${path}/b`)).body), version(kept));
    const odd = await wire().call("POST", `${path}?dryRun=Some`, { body: { metadata: { name: "c" } } });
    assert.equal(refused(odd, 422, "Invalid").includes("dryRun"), true);
  });

  test(`${name}: objects and requests that are too large are refused`, async (t) => {
    const path = await configMaps(t);
    const big = { metadata: { name: "a" }, data: { big: "x".repeat(4_000_000) } };
    assert.equal((await wire().call("POST", path, { body: big })).status, 413);
    const notes = { a: "x".repeat(300_000) };
    refused(await wire().call("POST", path, { body: { metadata: { name: "a", annotations: notes } } }), 422, "Invalid");
  });
}

/** The kinds that have rules of their own. */
export function testBuiltInKinds(name: string, wire: () => Wire): void {
  test(`${name}: leases: PUT creates, and needs the version afterwards`, async (t) => {
    const path = `/apis/coordination.k8s.io/v1/namespaces/${await testNamespace(wire(), t)}/leases/a`;
    const body = { metadata: { name: "a" }, spec: { holderIdentity: "x", leaseDurationSeconds: 15 } };
    const created = await wire().call("PUT", path, { body });
    assert.equal(created.status, 201, JSON.stringify(created.body));
    const blind = await wire().call("PUT", path, { body });
    assert.match(
      refused(blind, 422, "Invalid"),
      /metadata.resourceVersion: Invalid value: .*must be specified for an update/,
    );
    const renewed = await wire().call("PUT", path, {
      body: { ...created.body, spec: { ...body.spec, renewTime: "2026-01-02T03:04:05.123456Z" } },
    });
    assert.equal(look(renewed.body, "spec", "renewTime"), "2026-01-02T03:04:05.123456Z");
    const short = { ...renewed.body, spec: { leaseDurationSeconds: 0 } };
    refused(await wire().call("PUT", path, { body: short }), 422, "Invalid");
  });

  test(`${name}: the node's pod networks are set once; its taints and addresses are checked`, async (t) => {
    const node = await madeForTest(wire(), t, nodes, { metadata: { name: uniqueName("node") } });
    const path = `${nodes}/${nameOf(node)}`;
    const set = await wire().call("PATCH", path, { body: { spec: { podCIDRs: ["10.4.1.0/24", "fd00:4::/64"] } } });
    assert.equal(set.status, 200, JSON.stringify(set.body));
    assert.equal(look(set.body, "spec", "podCIDR"), "10.4.1.0/24");
    for (const spec of [
      { podCIDRs: ["10.4.2.0/24"], podCIDR: "10.4.2.0/24" },
      { podCIDRs: null, podCIDR: null },
    ]) {
      const change = await wire().call("PATCH", path, { body: { spec } });
      assert.match(refused(change, 422, "Invalid"), /node updates may not change podCIDR except from "" to valid/);
    }
    const twice = { metadata: { name: uniqueName("node") }, spec: { podCIDRs: ["10.4.1.0/24", "10.4.2.0/24"] } };
    const refusal = await wire().call("POST", nodes, { body: twice });
    assert.match(refused(refusal, 422, "Invalid"), /may specify no more than one CIDR for each IP family/);
    await wire().call("PATCH", path, { body: { spec: { providerID: "gce://p/z/n" } } });
    refused(await wire().call("PATCH", path, { body: { spec: { providerID: "gce://p/z/m" } } }), 422, "Invalid");
    const taint = { key: "a.example/b", effect: "NoSchedule" };
    refused(await wire().call("PATCH", path, { body: { spec: { taints: [taint, taint] } } }), 422, "Invalid");
    refused(
      await wire().call("PATCH", path, { body: { spec: { taints: [{ ...taint, effect: "Never" }] } } }),
      422,
      "Invalid",
    );
    assert.equal((await wire().call("PATCH", path, { body: { spec: { taints: [taint] } } })).status, 200);
  });

  test(`${name}: status is written by its own path only`, async (t) => {
    const node = await madeForTest(wire(), t, nodes, { metadata: { name: uniqueName("node") } });
    const path = `${nodes}/${nameOf(node)}`;
    const main = await wire().call("PATCH", path, {
      body: { status: { phase: "Running" }, metadata: { labels: { a: "1" } } },
    });
    assert.deepEqual(
      [look(main.body, "status", "phase"), look(main.body, "metadata", "labels", "a")],
      [undefined, "1"],
    );
    const body = { status: { phase: "Running" }, spec: { unschedulable: true } };
    const status = await wire().call("PATCH", `${path}/status`, { body });
    assert.deepEqual(
      [look(status.body, "status", "phase"), look(status.body, "spec", "unschedulable")],
      ["Running", undefined],
    );
    const replaced = await wire().call("PUT", `${path}/status`, {
      body: { ...status.body, status: {}, spec: { unschedulable: true } },
    });
    assert.deepEqual([replaced.status, look(replaced.body, "spec", "unschedulable")], [200, undefined]);
    assert.equal((await wire().call("GET", `${path}/status`)).status, 200);
  });

  test(`${name}: a namespace carries its own name as a label, whatever is asked`, async (t) => {
    const space = await testNamespace(wire(), t);
    const path = `/api/v1/namespaces/${space}`;
    const label = "kubernetes.io/metadata.name";
    const asked = { body: { metadata: { labels: { [label]: null, team: "a" } } } };
    const patched = await wire().call("PATCH", path, asked);
    assert.deepEqual(metadata(patched.body)["labels"], { [label]: space, team: "a" });
    assert.equal(look(patched.body, "status", "phase"), "Active");
  });
}

const generated = (): Obj => ({ metadata: { generateName: "gen-" } });

/** Without what only a real server keeps. */
export function without(object: Obj): Obj {
  const { managedFields: _, ...rest } = metadata(object);
  return { ...object, metadata: rest };
}

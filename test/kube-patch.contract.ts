// The four forms of a patch as an API server takes them; server-side apply stands in the tests of the real one.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { refused } from "./kube-objects.contract.ts";
import {
  type Obj,
  type Wire,
  look,
  made,
  madeForTest,
  metadata,
  nameOf,
  textOf,
  testNamespace,
  uniqueName,
  version,
} from "./kube-wire.ts";

const jsonPatch = "application/json-patch+json";
const strategic = "application/strategic-merge-patch+json";

export function testPatches(name: string, wire: () => Wire): void {
  const configMap = async (t: TestContext, data: Obj): Promise<{ path: string; object: Obj }> => {
    const path = `/api/v1/namespaces/${await testNamespace(wire(), t)}/configmaps`;
    return { path: `${path}/a`, object: await made(wire(), path, { metadata: { name: "a" }, data }) };
  };
  const node = async (t: TestContext, part: Obj): Promise<string> => {
    const object = await madeForTest(wire(), t, "/api/v1/nodes", { metadata: { name: uniqueName("node") }, ...part });
    return `/api/v1/nodes/${nameOf(object)}`;
  };

  test(`${name}: a merge patch sets, adds and removes`, async (t) => {
    const { path } = await configMap(t, { a: "1", b: "2" });
    const body = { data: { a: null, b: "3", c: "4" }, metadata: { annotations: { "x.example/y": "z" } } };
    const { body: object } = await wire().call("PATCH", path, { body });
    assert.deepEqual([object["data"], metadata(object)["annotations"]], [{ b: "3", c: "4" }, { "x.example/y": "z" }]);
    const emptied = await wire().call("PATCH", path, { body: { metadata: { annotations: { "x.example/y": null } } } });
    assert.equal(metadata(emptied.body)["annotations"], undefined, "nothing is left of what is empty");
    refused(await wire().call("PATCH", `${path}x`, { body }), 404, "NotFound");
    refused(await wire().call("PATCH", path, { body: "{" }), 400, "BadRequest");
    refused(await wire().call("PATCH", path, { body, type: "application/json" }), 415, "UnsupportedMediaType");
    refused(await wire().call("PATCH", path, { body: { metadata: { name: "b" } } }), 400, "BadRequest");
  });

  test(`${name}: a patch with a version applies to that version only`, async (t) => {
    const { path, object } = await configMap(t, { a: "1" });
    const guarded = { metadata: { resourceVersion: version(object) }, data: { a: "2" } };
    assert.equal((await wire().call("PATCH", path, { body: guarded })).status, 200);
    const late = { metadata: { resourceVersion: version(object) }, data: { a: "3" } };
    refused(await wire().call("PATCH", path, { body: late }), 409, "Conflict");
    const other = { metadata: { uid: "another" }, data: { a: "3" } };
    assert.match(
      refused(await wire().call("PATCH", path, { body: other }), 422, "Invalid"),
      /uid: .*field is immutable/,
    );
  });

  test(`${name}: a JSON patch takes its steps, or none where a test fails`, async (t) => {
    const { path } = await configMap(t, { a: "1", b: "2" });
    const patch = (...steps: Obj[]): ReturnType<Wire["call"]> =>
      wire().call("PATCH", path, { body: steps, type: jsonPatch });
    const good = await patch(
      { op: "test", path: "/data/a", value: "1" },
      { op: "replace", path: "/data/a", value: "5" },
      { op: "copy", from: "/data/a", path: "/data/d" },
      { op: "move", from: "/data/b", path: "/data/e" },
      { op: "add", path: "/metadata/labels", value: {} },
      { op: "add", path: "/metadata/labels/x.example~1y", value: "z" },
    );
    assert.deepEqual([good.status, good.body["data"]], [200, { a: "5", d: "5", e: "2" }], JSON.stringify(good.body));
    assert.deepEqual(metadata(good.body)["labels"], { "x.example/y": "z" });
    const failing = await patch({ op: "remove", path: "/data/d" }, { op: "test", path: "/data/a", value: "1" });
    refused(failing, 422, "Invalid");
    refused(await patch({ op: "remove", path: "/data/none" }), 422, "Invalid");
    refused(await patch({ op: "replace", path: "/none/at/all", value: "1" }), 422, "Invalid");
    assert.deepEqual((await wire().call("GET", path)).body["data"], { a: "5", d: "5", e: "2" });
    refused(await wire().call("PATCH", path, { body: { op: "add" }, type: jsonPatch }), 400, "BadRequest");
  });

  test(`${name}: a strategic merge patch merges conditions by type and replaces taints`, async (t) => {
    const path = await node(t, { spec: { taints: [{ key: "a.example/1", effect: "NoSchedule" }] } });
    const condition = (type: string, status: string): Obj => ({ type, status, reason: "R", message: "m" });
    const patch = (sub: string, body: Obj): ReturnType<Wire["call"]> =>
      wire().call("PATCH", path + sub, { body, type: strategic });
    await patch("/status", {
      status: { conditions: [condition("Ready", "True"), condition("NetworkUnavailable", "True")] },
    });
    const merged = await patch("/status", {
      status: { conditions: [{ type: "NetworkUnavailable", status: "False" }, condition("Other", "Unknown")] },
    });
    const seen = (look(merged.body, "status", "conditions") ?? []) as Obj[];
    assert.deepEqual(
      Object.fromEntries(seen.map(({ type, status, reason }) => [type, [status, reason]])),
      { Ready: ["True", "R"], NetworkUnavailable: ["False", "R"], Other: ["Unknown", "R"] },
      "an element's other fields stay",
    );
    const fewer = await patch("/status", { status: { conditions: [{ type: "Other", $patch: "delete" }] } });
    assert.equal(((look(fewer.body, "status", "conditions") ?? []) as Obj[]).length, 2);
    const replaced = await patch("", { spec: { taints: [{ key: "a.example/2", effect: "NoExecute" }] } });
    assert.deepEqual(look(replaced.body, "spec", "taints"), [{ key: "a.example/2", effect: "NoExecute" }]);
    const keyless = await patch("/status", { status: { conditions: [{ status: "True" }] } });
    assert.match(textOf(keyless.body, "message"), /does not contain declared merge key: type$/);
    const odd = await patch("", { metadata: { $patch: "nonsense" } });
    assert.match(textOf(odd.body, "message"), /^unknown patch type: /);
  });

  test(`${name}: strategic merge of addresses knows one of each type, so they are replaced as a whole`, async (t) => {
    const path = await node(t, {});
    const address = (family: string): Obj => ({ type: "InternalIP", address: family });
    const patch = (addresses: Obj[]): ReturnType<Wire["call"]> =>
      wire().call("PATCH", `${path}/status`, { body: { status: { addresses } }, type: strategic });
    await patch([address("10.0.0.1"), { type: "Hostname", address: "n" }]);
    const both = await patch([
      address("10.0.0.1"),
      address("fd00::1"),
      { type: "Hostname", address: "n" },
      { $patch: "replace" },
    ]);
    assert.deepEqual(look(both.body, "status", "addresses"), [
      address("10.0.0.1"),
      address("fd00::1"),
      { type: "Hostname", address: "n" },
    ]);
    const finalizers = await wire().call("PATCH", path, {
      body: { metadata: { labels: { a: "1" }, annotations: { b: "2" } } },
      type: strategic,
    });
    assert.equal(look(finalizers.body, "metadata", "labels", "a"), "1");
    const cleared = await wire().call("PATCH", path, { body: { metadata: { labels: { a: null } } }, type: strategic });
    assert.equal(look(cleared.body, "metadata", "labels"), undefined);
  });
}

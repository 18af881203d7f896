// Watches as an API server serves them: what is told, in which order, from where on, and how one ends.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { refused } from "./kube-objects.contract.ts";
import {
  type Obj,
  type Watching,
  type Wire,
  look,
  made,
  metadata,
  nameOf,
  testNamespace,
  version,
} from "./kube-wire.ts";

/** "ADDED a": an event in short. */
async function next(watching: Watching): Promise<string> {
  const event = await watching.nextChange();
  return event === undefined ? "(end)" : `${event.type} ${nameOf(event.object)}`;
}

export function testWatches(name: string, wire: () => Wire): void {
  const configMaps = async (t: TestContext): Promise<string> =>
    `/api/v1/namespaces/${await testNamespace(wire(), t)}/configmaps`;
  const watch = async (t: TestContext, path: string): Promise<Watching> => {
    const watching = await wire().watch(path);
    t.after(() => watching.close());
    assert.equal(watching.status, 200);
    return watching;
  };
  const label = (each: string): Obj => ({ metadata: { name: each, labels: { mine: "yes" } } });

  test(`${name}: from a version on, every change comes in order and with its version`, async (t) => {
    const path = await configMaps(t);
    const first = await made(wire(), path, label("a"));
    const second = await made(wire(), path, label("b"));
    await wire().call("PATCH", `${path}/a`, { body: { data: { n: "1" } } });
    const watching = await watch(t, `${path}?watch=1&labelSelector=mine&resourceVersion=${version(first)}`);
    assert.equal(await next(watching), "ADDED b");
    assert.equal(await next(watching), "MODIFIED a");
    await wire().call("DELETE", `${path}/b`);
    const deleted = await watching.nextChange();
    assert.deepEqual([deleted?.type, nameOf(deleted?.object ?? {})], ["DELETED", "b"]);
    assert.ok(Number(version(deleted?.object ?? {})) > Number(version(second)), "the version of its deletion");
    assert.equal(metadata(deleted?.object ?? {})["uid"], metadata(second)["uid"]);
    await made(wire(), path, label("c"));
    assert.equal(await next(watching), "ADDED c");
  });

  test(`${name}: without a version, and with 0, what is there comes first`, async (t) => {
    const path = await configMaps(t);
    const object = await made(wire(), path, label("a"));
    for (const options of ["", "&resourceVersion=0"]) {
      const watching = await watch(t, `${path}?watch=true&labelSelector=mine${options}`);
      const event = await watching.nextChange();
      assert.deepEqual([event?.type, version(event?.object ?? {})], ["ADDED", version(object)]);
      watching.close();
    }
  });

  test(`${name}: initial events end with a bookmark that says so`, async (t) => {
    const path = await configMaps(t);
    await made(wire(), path, label("a"));
    await made(wire(), path, label("b"));
    const options = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    const watching = await watch(t, `${path}?${options}&labelSelector=mine`);
    assert.deepEqual([await next(watching), await next(watching)], ["ADDED a", "ADDED b"]);
    const end = await watching.next();
    assert.equal(end?.type, "BOOKMARK");
    assert.equal(look(end?.object, "metadata", "annotations", "k8s.io/initial-events-end"), "true");
    assert.deepEqual([end?.object["kind"], end?.object["apiVersion"]], ["ConfigMap", "v1"]);
    await made(wire(), path, label("c"));
    assert.equal(await next(watching), "ADDED c");
    const goesOn = await watch(t, `${path}?watch=1&labelSelector=mine&resourceVersion=${version(end?.object ?? {})}`);
    assert.equal(await next(goesOn), "ADDED c", "a bookmark's version goes on after what was told");
    for (const wrong of [
      "sendInitialEvents=true",
      "resourceVersionMatch=NotOlderThan",
      "sendInitialEvents=true&resourceVersionMatch=Exact",
    ])
      refused(await wire().call("GET", `${path}?watch=1&${wrong}`), 422, "Invalid");
  });

  test(`${name}: what enters a selection is ADDED, what leaves it is DELETED as it was`, async (t) => {
    const path = await configMaps(t);
    const start = await made(wire(), path, { metadata: { name: "a" }, data: { n: "1" } });
    const watching = await watch(t, `${path}?watch=1&labelSelector=mine%3Dyes&resourceVersion=${version(start)}`);
    const relabel = (mine: string | null, n: string): ReturnType<Wire["call"]> =>
      wire().call("PATCH", `${path}/a`, { body: { metadata: { labels: { mine } }, data: { n } } });
    await relabel("no", "2");
    await relabel("yes", "3");
    assert.equal(await next(watching), "ADDED a");
    const left = await relabel(null, "4");
    const event = await watching.nextChange();
    assert.equal(event?.type, "DELETED");
    assert.deepEqual(
      [look(event?.object, "data", "n"), look(event?.object, "metadata", "labels", "mine")],
      ["3", "yes"],
      "its last state that matched",
    );
    assert.equal(version(event?.object ?? {}), version(left.body), "and the version of the change");
    await wire().call("DELETE", `${path}/a`);
    await made(wire(), path, label("b"));
    assert.equal(await next(watching), "ADDED b", "what was not selected is not told of");
  });

  test(`${name}: one object by its name`, async (t) => {
    const path = await configMaps(t);
    const start = await made(wire(), path, label("a"));
    const watching = await watch(
      t,
      `${path}?watch=1&fieldSelector=metadata.name%3Db&resourceVersion=${version(start)}`,
    );
    await made(wire(), path, label("c"));
    await made(wire(), path, label("b"));
    assert.equal(await next(watching), "ADDED b");
  });

  test(`${name}: a watch ends when its time is up, and not before`, async (t) => {
    const path = await configMaps(t);
    const startedMs = performance.now();
    const watching = await watch(t, `${path}?watch=1&timeoutSeconds=2&labelSelector=mine`);
    assert.equal(await next(watching), "(end)");
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs > 1_500 && tookMs < 10_000, `it took ${tookMs} ms`);
  });

  test(`${name}: options that make no sense`, async (t) => {
    const path = await configMaps(t);
    for (const options of ["timeoutSeconds=soon", "labelSelector=%3D", "resourceVersion=abc"]) {
      const { status } = await wire().call("GET", `${path}?watch=1&${options}`);
      assert.ok(status === 400 || status === 422 || status === 500, `${options}: ${status}`);
    }
  });
}

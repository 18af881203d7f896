// Lists: pages, their bounds, and what happens where a continue token expires on the way.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startPair } from "../../test/kube/client.ts";
import type { TestServer } from "../../test/kube/server.ts";
import { configMaps } from "./core-objects.ts";

const collection = "/api/v1/configmaps";

function fill({ store }: TestServer, count: number): void {
  for (let index = 0; index < count; index += 1) {
    store.put(collection, { metadata: { name: `n${index}`, namespace: index % 2 === 0 ? "even" : "odd" } });
  }
}

test("a list is read in pages, whole and of one version", async (t) => {
  const { server, kube } = await startPair(t, { limits: { pageLen: 3 } });
  fill(server, 7);
  const version = String(server.store.version());
  server.whim = ({ query }) => {
    if (query.has("continue")) server.store.put(collection, { metadata: { name: "later", namespace: "odd" } });
    return undefined;
  };
  const { items, resourceVersion } = await kube.list(configMaps);
  assert.deepEqual(
    items.map(({ metadata }) => metadata.name),
    ["n0", "n1", "n2", "n3", "n4", "n5", "n6"],
  );
  assert.equal(resourceVersion, version);
  assert.deepEqual(
    server.seen.map(({ query }) => query.get("limit")),
    ["3", "3", "3"],
  );
});

test("a selection goes into path and query, and an old answer is asked for on the first page alone", async (t) => {
  const { server, kube } = await startPair(t, { limits: { pageLen: 2 } });
  fill(server, 6);
  const options = {
    namespace: "even",
    labelSelector: "a=b,c",
    fieldSelector: "spec.nodeName=n 1",
    consistency: "any",
  } as const;
  assert.equal((await kube.list(configMaps, options)).items.length, 3);
  assert.equal(server.seen[0]?.path, "/api/v1/namespaces/even/configmaps");
  assert.deepEqual(
    server.seen.map(({ query }) => [
      query.get("labelSelector"),
      query.get("fieldSelector"),
      query.get("resourceVersion"),
    ]),
    [
      ["a=b,c", "spec.nodeName=n 1", "0"],
      ["a=b,c", "spec.nodeName=n 1", null],
    ],
  );
});

test("a list whose token expires begins again and has nothing twice; for ever it does not", async (t) => {
  const { server, kube } = await startPair(t, { limits: { pageLen: 2, listStartsMax: 3 } });
  fill(server, 5);
  let compactions = 1;
  server.whim = ({ query }) => {
    if (query.has("continue") && compactions-- > 0) {
      server.store.put(collection, { metadata: { name: "n0", namespace: "even" } });
      server.store.compact();
    }
    return undefined;
  };
  assert.equal((await kube.list(configMaps)).items.length, 5);
  compactions = Infinity;
  const before = server.seen.length;
  await assert.rejects(kube.list(configMaps), { code: "kube-expired" });
  assert.equal(server.seen.length - before, 6);
});

test("where objects are too long for one answer fewer are asked for, and more again after them; one that is too long alone is a fault", async (t) => {
  const { server, kube } = await startPair(t, { limits: { pageLen: 4, answerLenMax: 3000 } });
  for (let index = 0; index < 12; index += 1) {
    const data = { a: "x".repeat(index < 4 ? 1500 : 10) };
    server.store.put(collection, { metadata: { name: `n${String(index).padStart(2, "0")}`, namespace: "even" }, data });
  }
  const { items } = await kube.list(configMaps, { consistency: "any" });
  assert.equal(new Set(items.map(({ metadata }) => metadata.name)).size, 12);
  const limits = server.seen.map(({ query }) => Number(query.get("limit")));
  assert.deepEqual([limits.slice(0, 3), limits.at(-1)], [[4, 2, 1], 4]);
  assert.deepEqual(
    server.seen.map(({ query }) => query.get("resourceVersion")).slice(0, 2),
    ["0", null],
    "an old answer comes whole",
  );
  server.store.put(collection, { metadata: { name: "n00", namespace: "even" }, data: { a: "x".repeat(4000) } });
  await assert.rejects(kube.list(configMaps), { code: "kube-answer", message: /more than 3000 bytes/ });
});

test("a list without end, without version, or that is none is refused", async (t) => {
  const { server, kube } = await startPair(t, { limits: { listPagesMax: 4 } });
  server.whim = () => ({ answer: 200, body: { items: [], metadata: { continue: "more", resourceVersion: "1" } } });
  await assert.rejects(kube.list(configMaps), { code: "kube-answer", message: /more than 4 pages/ });
  assert.equal(server.seen.length, 4);
  server.whim = () => ({ answer: 200, body: { items: [], metadata: { resourceVersion: "" } } });
  await assert.rejects(kube.list(configMaps), { code: "kube-answer", message: /no resourceVersion/ });
  server.whim = () => ({ answer: 200, body: { items: {}, metadata: { resourceVersion: "1" } } });
  await assert.rejects(kube.list(configMaps), { code: "kube-answer", message: /no list/ });
  server.whim = () => ({ answer: 200, body: { items: null, metadata: { resourceVersion: "1" } } });
  assert.deepEqual(await kube.list(configMaps), { items: [], resourceVersion: "1" });
});

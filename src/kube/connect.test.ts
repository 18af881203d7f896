// Calls of the client: what is sent, what each answer becomes, what is tried again, and what hostile answers cannot do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type FaultCode, isFault } from "../base/fault.ts";
import { startPair } from "../../test/kube/client.ts";
import { status, type Whim } from "../../test/kube/server.ts";
import { until } from "../../test/until.ts";
import { configMaps, nodes } from "./core-objects.ts";

const ref = { namespace: "default", name: "one" };
const path = "/api/v1/namespaces/default/configmaps/one";

async function faultOf(work: Promise<unknown>): Promise<{ code: FaultCode; message: string; data: unknown }> {
  try {
    await work;
  } catch (error) {
    if (isFault(error)) return error;
    throw error;
  }
  throw new Error("it succeeded");
}

test("an object is created, read, replaced, patched, applied, listed and removed", async (t) => {
  const { server, kube } = await startPair(t);
  const made = await kube.create(configMaps, { metadata: ref, data: { word: "漢" } });
  assert.equal(made.data?.["word"], "漢");
  assert.deepEqual(await kube.get(configMaps, ref), made);
  const second = await kube.replace(configMaps, { ...made, data: { word: "two" } });
  assert.equal((await faultOf(kube.replace(configMaps, made))).code, "kube-conflict", "of an old version");
  const patched = await kube.patch(configMaps, ref, { type: "merge", body: { data: { word: "three" } } });
  assert.notEqual(patched.metadata.resourceVersion, second.metadata.resourceVersion);
  await kube.apply(configMaps, { metadata: ref, data: { word: "four" } }, { fieldManager: "us & them", force: true });
  assert.deepEqual(
    (await kube.list(configMaps)).items.map(({ data }) => data),
    [{ word: "four" }],
  );
  assert.equal((await faultOf(kube.create(configMaps, { metadata: ref }))).code, "kube-exists");
  assert.equal((await faultOf(kube.remove(configMaps, ref, { uid: "another" }))).code, "kube-conflict");
  await kube.remove(configMaps, ref, { uid: made.metadata.uid ?? "" });
  await kube.remove(configMaps, ref);
  assert.equal((await faultOf(kube.get(configMaps, ref))).code, "kube-not-found");

  const sent = server.seen.map(({ method, path, query, headers }) =>
    [method, path, query.toString(), headers["content-type"]].join(" ").trim(),
  );
  assert.deepEqual(sent.slice(0, 7), [
    "POST /api/v1/namespaces/default/configmaps  application/json",
    `GET ${path}`,
    `PUT ${path}  application/json`,
    `PUT ${path}  application/json`,
    `PATCH ${path}  application/merge-patch+json`,
    `PATCH ${path} fieldManager=us+%26+them&force=true application/apply-patch+yaml`,
    "GET /api/v1/configmaps limit=500",
  ]);
  assert.equal(server.seen[0]?.headers["user-agent"], "fairlead-test/1");
  assert.deepEqual(JSON.parse(server.seen[0]?.body ?? ""), {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: ref,
    data: { word: "漢" },
  });
});

test("a status subresource and patches of all forms go where they belong", async (t) => {
  const { server, kube } = await startPair(t);
  server.store.put("/api/v1/nodes", { metadata: { name: "n1" } });
  const to = { name: "n1" };
  await kube.patch(nodes, to, { type: "strategic", body: { status: {} } }, { subresource: "status" });
  await kube.patch(nodes, to, { type: "json", body: [{ op: "test", path: "/metadata/name", value: "n1" }] });
  assert.deepEqual(
    server.seen.map(({ path, headers }) => `${path} ${headers["content-type"]}`),
    ["/api/v1/nodes/n1/status application/strategic-merge-patch+json", "/api/v1/nodes/n1 application/json-patch+json"],
  );
});

test("a name cannot lead elsewhere", async (t) => {
  const { server, kube } = await startPair(t);
  await faultOf(kube.get(configMaps, { namespace: "a/b", name: "../../secrets?x=1#y" }));
  assert.equal(server.seen[0]?.path, "/api/v1/namespaces/a%2Fb/configmaps/..%2F..%2Fsecrets%3Fx%3D1%23y");
  await assert.rejects(async () => kube.get(configMaps, { namespace: "..", name: "x" }), /assertion failed/);
  await assert.rejects(async () => kube.get(configMaps, { name: "x" }), /namespace/);
});

const answers: readonly [answer: number, reason: string, code: FaultCode][] = [
  [400, "BadRequest", "kube-refused"],
  [401, "Unauthorized", "kube-unauthorized"],
  [403, "Forbidden", "kube-refused"],
  [404, "NotFound", "kube-not-found"],
  [409, "Conflict", "kube-conflict"],
  [409, "AlreadyExists", "kube-exists"],
  [410, "Expired", "kube-expired"],
  [422, "Invalid", "kube-refused"],
  [429, "TooManyRequests", "kube-busy"],
  [500, "InternalError", "kube-busy"],
  [504, "Timeout", "kube-busy"],
  [302, "Found", "kube-answer"],
];

test("each refusal is a fault that names call, status and the server's words", async (t) => {
  const { server, kube } = await startPair(t);
  for (const [answer, reason, code] of answers) {
    server.whim = () => ({ answer, body: status(answer, reason, "because \u001b[31mof rain") });
    const fault = await faultOf(kube.get(configMaps, ref));
    assert.equal(fault.code, code, `${answer} ${reason}`);
    assert.equal(fault.message, `GET ${path}: the server says ${answer} ${reason}: because \\u{1b}[31mof rain`);
    assert.deepEqual(fault.data, {
      causes: undefined,
      status: answer,
      reason,
      ...(answer === 401 ? { retryWith: false } : {}),
    });
  }
  assert.equal(server.seen.length, answers.length, "none of them is tried again");
});

test("an answer that says when is tried again, as often as there are tries, and then told", async (t) => {
  const { server, kube } = await startPair(t, { limits: { triesMax: 3, retryAfterMaxMs: 2 } });
  server.store.put("/api/v1/configmaps", { metadata: ref });
  const later: Whim = { answer: 429, headers: { "retry-after": "3" } };
  server.whim = () => (server.seen.length < 3 ? later : undefined);
  const startedMs = performance.now();
  await kube.get(configMaps, ref);
  assert.ok(performance.now() - startedMs < 3000, "longer than the client waits is not waited for");
  assert.equal(server.seen.length, 3);
  server.whim = () => later;
  assert.equal((await faultOf(kube.get(configMaps, ref))).code, "kube-busy");
  assert.equal(server.seen.length, 6);
});

test("answers that cannot be read are faults, each with a bound", async (t) => {
  const { server, kube } = await startPair(t, { limits: { answerLenMax: 10_000, callMs: 5000 } });
  const deep = "[".repeat(200) + "]".repeat(200);
  for (const [body, words] of [
    ["{", /no JSON/],
    ["", /no JSON/],
    [deep, /nested deeper/],
    [JSON.stringify("x".repeat(10_000)), /more than 10000 bytes/],
    ['{"metadata":{"name":7}}', /an object without a name is no ConfigMap/],
    ['{"metadata":{"name":"one","namespace":"d"},"data":{"a":1}}', /d\/one is no ConfigMap/],
  ] as const) {
    server.whim = () => ({ answer: 200, body });
    const fault = await faultOf(kube.get(configMaps, ref));
    assert.equal(fault.code, "kube-answer", body.slice(0, 20));
    assert.match(fault.message, words);
  }
  server.whim = () => ({ answer: 500, body: "<html>".repeat(100_000) });
  assert.ok((await faultOf(kube.get(configMaps, ref))).message.length < 700);
});

test("no answer, half of one, or one too late: unreachable, tried once", async (t) => {
  const { server, kube } = await startPair(t, { limits: { callMs: 1000 } });
  server.store.put("/api/v1/configmaps", { metadata: ref });
  for (const whim of [{ drop: "before" }, { drop: "after" }, { cut: 0.5 }, { stall: "before" }] satisfies Whim[]) {
    server.whim = () => whim;
    const fault = await faultOf(kube.get(configMaps, ref));
    assert.equal(fault.code, "kube-unreachable", JSON.stringify(whim));
    assert.ok(fault.message.startsWith(`GET ${path}: `), fault.message);
  }
  assert.equal(server.seen.length, 4);
  const startedMs = performance.now();
  await server.stop();
  assert.equal((await faultOf(kube.get(configMaps, ref))).code, "kube-unreachable", "nobody listens");
  assert.ok(performance.now() - startedMs < 5000);
});

test("a caller can give up, before and in the middle, and closing gives up all", async (t) => {
  const { server, kube } = await startPair(t);
  server.whim = () => ({ stall: "before" });
  const stop = new AbortController();
  const waiting = faultOf(kube.get(configMaps, ref, { signal: stop.signal }));
  await until("the call has arrived", () => server.seen.length === 1);
  stop.abort();
  assert.match((await waiting).message, /given up by the caller/);
  assert.match((await faultOf(kube.get(configMaps, ref, { signal: stop.signal }))).message, /given up by the caller/);
  assert.equal(server.seen.length, 1, "what is given up before is not sent");
  const closed = faultOf(kube.get(configMaps, ref));
  await until("another has arrived", () => server.seen.length === 2);
  await kube.close();
  assert.equal((await closed).code, "kube-unreachable");
});

test("more calls than there may be are refused, not kept", async (t) => {
  const { server, kube } = await startPair(t, { limits: { callsMax: 3, callConnectionsMax: 1 } });
  server.whim = () => ({ stall: "before" });
  const stop = new AbortController();
  const kept = [1, 2, 3].map(() => faultOf(kube.get(configMaps, ref, { signal: stop.signal })));
  assert.match((await faultOf(kube.get(configMaps, ref))).message, /3 calls are under way/);
  stop.abort();
  await Promise.all(kept);
});

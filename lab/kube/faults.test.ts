// Failures on order, as a client feels them; and what is counted of its calls.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Wire, look, made, names, openWire, textOf, version } from "../../test/kube-wire.ts";
import { until } from "../../test/until.ts";
import { type ApiServer, type ApiServerOptions, startApiServer } from "./server.ts";

const configMaps = "/api/v1/namespaces/default/configmaps";

async function started(t: TestContext, options: ApiServerOptions = {}): Promise<{ server: ApiServer; wire: Wire }> {
  const server = await startApiServer(options);
  const wire = openWire({ url: server.url });
  t.after(async () => {
    await wire.close();
    await server.close();
  });
  return { server, wire };
}

const create = (wire: Wire, name: string) => wire.call("POST", configMaps, { body: { metadata: { name } } });

void test("the n-th call of a kind gets an answer of its own", async (t) => {
  const { server, wire } = await started(t);
  const effect = { does: "answer", status: 429, retryAfterSeconds: 3 } as const;
  const rule = server.faults.add({ verb: "create", resource: "configmaps", skip: 1, times: 2, effect });
  const codes: number[] = [];
  for (const name of ["a", "b", "c", "d"]) codes.push((await create(wire, name)).status);
  assert.deepEqual([codes, rule.struck()], [[201, 429, 429, 201], 2]);
  assert.deepEqual(names((await wire.call("GET", configMaps)).body), ["a", "d"], "a refused write is not carried out");

  server.faults.add({ name: "a", effect });
  const busy = await wire.call("GET", `${configMaps}/a`);
  assert.equal(busy.headers["retry-after"], "3");
  assert.deepEqual([busy.body["reason"], look(busy.body, "details", "retryAfterSeconds")], ["TooManyRequests", 3]);
  assert.equal((await wire.call("GET", `${configMaps}/d`)).status, 200);
});

void test("an answer can lie about a write that was carried out", async (t) => {
  const { server, wire } = await started(t);
  server.faults.add({ verb: "create", effect: { does: "answer", status: 500, after: true } });
  assert.equal((await create(wire, "a")).status, 500);
  assert.equal((await wire.call("GET", `${configMaps}/a`)).status, 200);
});

void test("a connection is cut before a write, or after it", async (t) => {
  const { server, wire } = await started(t);
  for (const [when, code] of [
    ["before", 404],
    ["after", 200],
  ] as const) {
    server.faults.add({ verb: "create", effect: { does: "cut", when } });
    await assert.rejects(create(wire, when), /other side closed|ECONNRESET|terminated/);
    assert.equal((await wire.call("GET", `${configMaps}/${when}`)).status, code);
  }
});

void test("a delayed call is late, and one of another user is not", async (t) => {
  const { server, wire } = await started(t);
  server.faults.add({ user: "agent", effect: { does: "delay", ms: 1000 } });
  const other = openWire({ url: server.url, token: server.callers.issue({ name: "agent" }) });
  t.after(() => other.close());
  const took = async (by: Wire): Promise<number> => {
    const startedMs = performance.now();
    await by.call("GET", configMaps);
    return performance.now() - startedMs;
  };
  await took(wire);
  const [own, late] = [await took(wire), await took(other)];
  assert.ok(late >= 990 && own < late, `${own} and ${late} ms`);
});

/** True where nothing was told until a call by another connection, begun afterwards, was answered. */
const isSilent = async (told: Promise<unknown>, call: () => Promise<unknown>): Promise<boolean> =>
  Promise.race([told.then(() => false), call().then(() => true)]);

void test("a server that hangs answers all that waited, and tells its watches what they missed", async (t) => {
  const { server, wire } = await started(t);
  const watching = await wire.watch(`${configMaps}?watch=1`);
  t.after(() => watching.close());
  const told = watching.nextChange();
  server.pause();
  const waits = create(wire, "late");
  await until("the call is under way", () => server.connections() >= 2);
  const sent = (): number => server.usage().reduce((sum, { bytesOut }) => sum + bytesOut, 0);
  const before = sent();
  server.store.put("/configmaps", "default/a", { metadata: { name: "a", namespace: "default" } });
  assert.equal(sent(), before, "neither answer nor event has left the server");
  server.resume();
  assert.equal((await waits).status, 201);
  assert.equal((await told)?.type, "ADDED");
  assert.deepEqual(names((await wire.call("GET", configMaps)).body), ["a", "late"]);
});

void test("stalled watches are silent while calls are answered, and then tell all that they missed", async (t) => {
  const { server, wire } = await started(t);
  const watching = await wire.watch(`${configMaps}?watch=1`);
  t.after(() => watching.close());
  server.stallWatches();
  await create(wire, "a");
  const told = watching.nextChange();
  assert.equal(await isSilent(told, () => wire.call("GET", configMaps)), true);
  server.pause();
  server.resume();
  assert.equal(await isSilent(told, () => wire.call("GET", configMaps)), true, "still stalled");
  server.resumeWatches();
  assert.equal((await told)?.type, "ADDED");
});

void test("watches are cut, and a watch that is to stay silent does", async (t) => {
  const { server, wire } = await started(t);
  const watching = await wire.watch(`${configMaps}?watch=1`);
  server.cutWatches();
  await assert.rejects(watching.next(), /terminated|other side closed/);
  server.faults.add({ verb: "watch", effect: { does: "stall" } });
  const silent = await wire.watch(`${configMaps}?watch=1&timeoutSeconds=1`);
  await create(wire, "a");
  assert.equal(await silent.next(), undefined, "it ends without a word");
});

void test("during an outage nobody answers; afterwards the same objects are there at the same address", async (t) => {
  const { server, wire } = await started(t);
  const object = await made(wire, configMaps, { metadata: { name: "a" } });
  await server.startOutage();
  await assert.rejects(wire.call("GET", configMaps), /ECONNREFUSED|other side closed|ECONNRESET/);
  await server.endOutage();
  assert.equal(version((await wire.call("GET", `${configMaps}/a`)).body), version(object));
});

void test("compaction expires watches and pages, either way that a server may tell it", async (t) => {
  for (const expiredAs of ["event", "status"] as const) {
    const { server, wire } = await started(t, { watch: { expiredAs } });
    const first = await made(wire, configMaps, { metadata: { name: "a" } });
    for (const name of ["b", "c"]) await create(wire, name);
    const page = await wire.call("GET", `${configMaps}?limit=1`);
    const token = encodeURIComponent(textOf(page.body, "metadata", "continue"));
    await create(wire, "d");
    server.compact();
    const watching = await wire.watch(`${configMaps}?watch=1&resourceVersion=${version(first)}`);
    t.after(() => watching.close());
    if (expiredAs === "status") assert.equal(watching.status, 410);
    else assert.equal((await watching.next())?.object["code"], 410);
    const late = await wire.call("GET", `${configMaps}?limit=1&continue=${token}`);
    assert.deepEqual([late.status, late.body["reason"]], [410, "Expired"]);
    const fresh = encodeURIComponent(textOf(late.body, "metadata", "continue"));
    const rest = await wire.call("GET", `${configMaps}?continue=${fresh}`);
    assert.deepEqual(names(rest.body), ["b", "c", "d"], "the token of the refusal goes on as of now");
    const exact = `resourceVersion=${version(first)}&resourceVersionMatch=Exact`;
    assert.equal((await wire.call("GET", `${configMaps}?${exact}`)).status, 410);
  }
});

void test("bookmarks come as often as they are asked to, with the newest version", async (t) => {
  const { wire } = await started(t, { watch: { bookmarkEveryMs: 50 } });
  const object = await made(wire, configMaps, { metadata: { name: "a" } });
  const watching = await wire.watch(
    `${configMaps}?watch=1&allowWatchBookmarks=true&resourceVersion=${version(object)}`,
  );
  t.after(() => watching.close());
  const other = await made(wire, "/api/v1/nodes", { metadata: { name: "n" } });
  let event = await watching.next();
  while (event?.type === "BOOKMARK" && version(event.object) !== version(other)) event = await watching.next();
  assert.equal(event?.type, "BOOKMARK");
});

void test("calls and bytes are counted for their user", async (t) => {
  const { server, wire } = await started(t);
  const token = server.callers.issue({ name: "system:node:a" });
  const agent = openWire({ url: server.url, token });
  t.after(() => agent.close());
  server.resetUsage();
  await create(agent, "a");
  await agent.call("GET", `${configMaps}/a`);
  await agent.call("GET", `${configMaps}/none`);
  const watching = await agent.watch(`${configMaps}?watch=1`);
  await watching.next();
  watching.close();
  await wire.call("GET", configMaps);
  const [node, ...others] = server.usage().filter(({ user }) => user === "system:node:a");
  assert.deepEqual(others, []);
  assert.deepEqual(
    [node?.requests, node?.byKind, node?.byCode],
    [4, { "create configmaps": 1, "get configmaps": 2, "watch configmaps": 1 }, { 200: 2, 201: 1, 404: 1 }],
  );
  assert.ok((node?.bytesIn ?? 0) >= 20 && (node?.bytesOut ?? 0) > 600, JSON.stringify(node));
  server.callers.revoke(token);
  assert.equal((await agent.call("GET", configMaps)).status, 401);
});

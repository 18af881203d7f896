// Watches: lines over chunks cut anywhere, bounds, and each way to end told apart.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { pause } from "../base/pause.ts";
import { startServer, type TestServer } from "../../test/kube/server.ts";
import { configMaps } from "./core-objects.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { createTransport } from "./request.ts";
import { splitLines, watchEvents, type WatchEvent } from "./watch.ts";

async function linesOf(pieces: readonly Uint8Array[], lenMax = 1000): Promise<string[]> {
  async function* stream(): AsyncGenerator<Buffer> {
    for (const piece of pieces) yield Buffer.from(piece);
  }
  const lines: string[] = [];
  for await (const line of splitLines(stream(), lenMax, "test")) lines.push(line.toString());
  return lines;
}

test("lines are the same wherever the stream is cut, inside characters too", async () => {
  const lines = ['{"a":1}', '{"b":"ß漢𝄞"}', '{"c":"\\n"}'];
  const bytes = Buffer.from(`${lines.join("\n")}\n`);
  for (let first = 0; first <= bytes.length; first += 1) {
    for (let second = first; second <= bytes.length; second += 1) {
      const pieces = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
      assert.deepEqual(await linesOf(pieces), lines, `cut at ${first} and ${second}`);
    }
  }
  assert.deepEqual(await linesOf([...bytes].map((byte) => Uint8Array.of(byte))), lines, "byte by byte");
});

test("a line without its end is no line; one too long is refused before it has ended", async () => {
  assert.deepEqual(await linesOf([Buffer.from("one\n\n\ntwo")]), ["one"]);
  assert.deepEqual(await linesOf([Buffer.from(`${"x".repeat(10)}\n`)], 10), ["x".repeat(10)]);
  await assert.rejects(linesOf([Buffer.from("x".repeat(6)), Buffer.from("x".repeat(5))], 10), {
    code: "kube-answer",
    message: "test: a line has more than 10 bytes",
  });
});

interface Watching {
  server: TestServer;
  /** Events until the watch ends. */
  events: (limits?: Partial<Limits>, signal?: AbortSignal) => AsyncGenerator<WatchEvent>;
}

async function startWatching(t: TestContext): Promise<Watching> {
  const server = await startServer();
  const open: (() => Promise<void>)[] = [server.stop];
  t.after(async () => {
    for (const close of open.reverse()) await close();
  });
  return {
    server,
    events: (given = {}, signal = new AbortController().signal) => {
      const limits = { ...defaultLimits, ...given };
      const transport = createTransport({ server: server.url }, "test/1", limits);
      open.push(transport.close);
      const resourceVersion = String(server.store.version());
      return watchEvents(transport, limits, {
        kind: configMaps,
        selection: { namespace: "default" },
        resourceVersion,
        signal,
        onHeard: () => undefined,
      });
    },
  };
}

const put = ({ store }: TestServer, name: string): unknown =>
  store.put("/api/v1/configmaps", { metadata: { name, namespace: "default" } });

async function all(events: AsyncGenerator<WatchEvent>): Promise<string[]> {
  const types: string[] = [];
  for await (const { type } of events) types.push(type);
  return types;
}

test("a watch asks for bookmarks and an end between half of its time and all of it", async (t) => {
  const { server, events } = await startWatching(t);
  server.whim = () => ({ watch: { end: "in order", after: 0 } });
  const lasting = new Set<number>();
  for (let round = 0; round < 40; round += 1) {
    await all(events({ watchMs: 20_000 }));
    lasting.add(Number(server.seen.at(-1)?.query.get("timeoutSeconds")));
  }
  assert.ok(lasting.size > 3, "many clients do not end together");
  for (const seconds of lasting) assert.ok(seconds >= 10 && seconds <= 20, String(seconds));
  const { query, path } = server.seen[0] ?? {};
  assert.equal(path, "/api/v1/namespaces/default/configmaps");
  assert.equal(query?.get("allowWatchBookmarks"), "true");
  assert.equal(query?.get("resourceVersion"), "100");
});

test("events and bookmarks come in order until the server ends in order", async (t) => {
  const { server, events } = await startWatching(t);
  server.whim = () => ({ watch: { end: "in order", after: 3, bookmarkEvery: 2 } });
  const watching = all(events());
  for (const name of ["a", "b", "a"]) put(server, name);
  assert.deepEqual(await watching, ["ADDED", "ADDED", "BOOKMARK", "MODIFIED"]);
});

for (const [end, code, words] of [
  ["broken", "kube-unreachable", /no answer/],
  ["expired", "kube-expired", /410 Expired: too old/],
  ["garbage", "kube-answer", /no JSON/],
] as const) {
  test(`a watch that ends "${end}" says so, after what came before`, async (t) => {
    const { server, events } = await startWatching(t);
    server.whim = () => ({ watch: { end, after: 1 } });
    const stream = events();
    const first = stream.next();
    put(server, "a");
    assert.equal((await first).value?.type, "ADDED");
    await assert.rejects(stream.next(), { code, message: words });
  });
}

test("a watch that is silent for too long ends, after what came before", async (t) => {
  const { server, events } = await startWatching(t);
  const stream = events({ watchIdleMs: 1000 });
  const first = stream.next();
  put(server, "a");
  assert.equal((await first).value?.type, "ADDED");
  await assert.rejects(stream.next(), { code: "kube-unreachable", message: /silent for 1000 ms/ });
});

test("a version that is forgotten already is 410 as an answer, too", async (t) => {
  const { server, events } = await startWatching(t);
  const stream = events();
  put(server, "a");
  server.store.compact();
  await assert.rejects(stream.next(), { code: "kube-expired" });
});

test("a watch that is heard again and again is not silent, however long it lasts", async (t) => {
  const { server, events } = await startWatching(t);
  const stop = new AbortController();
  const watchIdleMs = 2000;
  const stream = events({ watchIdleMs }, stop.signal);
  const startedMs = performance.now();
  while (performance.now() - startedMs < watchIdleMs * 2) {
    const next = stream.next();
    put(server, "a");
    assert.equal((await next).done, false);
    await pause(watchIdleMs / 10, stop.signal);
  }
  stop.abort();
  await assert.rejects(all(stream), { code: "kube-unreachable" });
});

test("an event of an unknown type, or an error that is no Status, ends the watch", async (t) => {
  const { server, events } = await startWatching(t);
  for (const [line, words] of [
    ['{"type":"RENAMED","object":{}}', /type "RENAMED"/],
    ['{"type":"ERROR","object":{"a":1}}', /no Status/],
    ["7", /type undefined/],
  ] as const) {
    server.whim = () => ({ answer: 200, body: `${line}\n` });
    await assert.rejects(all(events()), { code: "kube-answer", message: words });
  }
});

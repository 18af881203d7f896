// Caches: what they hold and tell through relists, duplicates, unreadable objects and outages, and how they begin again.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { startPair } from "../../test/kube/client.ts";
import type { TestServer, Whim } from "../../test/kube/server.ts";
import { until } from "../../test/until.ts";
import type { Cache, Kube, Selection } from "./contract.ts";
import { type ConfigMap, configMaps } from "./core-objects.ts";
import type { Limits } from "./limits.ts";

const collection = "/api/v1/configmaps";
const quick: Partial<Limits> = { retryMs: 2, retryMaxMs: 20, watchLivedMs: 60, callMs: 5000 };

interface Following {
  server: TestServer;
  kube: Kube;
  cache: Cache<ConfigMap>;
  /** What was told: "+name", "~name", "-name", "synced". */
  told: string[];
  stop: AbortController;
}

async function startFollowing(
  t: TestContext,
  {
    before = () => undefined,
    limits = {},
    selection = {},
    onChange = () => undefined,
  }: {
    before?: (server: TestServer) => void;
    limits?: Partial<Limits>;
    selection?: Selection & { mayBeMissing?: boolean };
    onChange?: () => void;
  } = {},
): Promise<Following> {
  const { server, kube } = await startPair(t, { limits: { ...quick, ...limits } });
  before(server);
  const told: string[] = [];
  const stop = new AbortController();
  const cache = kube.follow(configMaps, {
    ...selection,
    signal: stop.signal,
    onChange: ({ before, after }) => {
      const name = (after ?? before)?.metadata.name ?? "";
      told.push(`${before === undefined ? "+" : after === undefined ? "-" : "~"}${name}`);
      if (cache.get({ name, namespace: "default" }) !== after) told.push("before the cache holds it");
      onChange();
    },
    onSynced: () => told.push("synced"),
  });
  t.after(async () => {
    stop.abort();
    await cache.done;
  });
  return { server, kube, cache, told, stop };
}

const put = ({ store }: TestServer, name: string, data: Record<string, unknown> = { a: "1" }): unknown =>
  store.put(collection, { metadata: { name, namespace: "default" }, data });
const remove = ({ store }: TestServer, name: string): unknown => store.remove(collection, "default", name);
const whole = async ({ cache, stop }: Following): Promise<void> => cache.whenSynced(10_000, stop.signal);
/** A watch of the newest version runs. */
const watching = ({ cache }: Following): Promise<void> =>
  until("it watches", () => cache.status().failures === 0 && cache.status().watches > 0);

test("a list is told, then synced, then each change in order", async (t) => {
  const following = await startFollowing(t, { before: (server) => put(server, "a") });
  const { server, cache, told } = following;
  assert.equal(cache.synced(), false);
  assert.equal(cache.silentMs(), Infinity);
  await whole(following);
  assert.deepEqual(told, ["+a", "synced"]);
  put(server, "b");
  put(server, "a", { a: "2" });
  remove(server, "b");
  await until("all is told", () => told.length === 5);
  assert.deepEqual(told.slice(2), ["+b", "~a", "-b"]);
  assert.deepEqual(
    cache.all().map(({ data }) => data),
    [{ a: "2" }],
  );
  assert.ok(cache.silentMs() < 10_000);
  assert.deepEqual(cache.status(), {
    kind: "ConfigMap",
    objects: 1,
    lists: 1,
    watches: 1,
    events: 3,
    unreadable: 0,
    failures: 0,
  });
});

test("after an outage that the server has forgotten, what vanished is told as gone, first", async (t) => {
  const following = await startFollowing(t, {
    before: (server) => ["a", "b", "c"].forEach((name) => put(server, name)),
  });
  const { server, cache, told } = following;
  await whole(following);
  await watching(following);
  let out = true;
  server.whim = () => (out ? { drop: "before" } : undefined);
  server.breakAll();
  await until("it has noticed", () => cache.status().failures > 0);
  assert.equal(cache.all().length, 3, "an outage empties nothing");
  remove(server, "b");
  put(server, "d");
  put(server, "c", { a: "2" });
  server.store.compact();
  out = false;
  await until("it is whole again", () => told.filter((what) => what === "synced").length === 2);
  assert.deepEqual(told.slice(4), ["-b", "~c", "+d", "synced"], "and what is the same is not told");
  assert.equal(cache.status().lists, 2);
});

test("an outage that the server remembers costs no list: the watch goes on from its last version", async (t) => {
  const following = await startFollowing(t);
  const { server, cache, told } = following;
  await whole(following);
  server.whim = ({ query }) => (query.get("watch") === "1" ? { watch: { end: "broken", after: 1 } } : undefined);
  server.breakAll();
  for (let round = 1; round <= 3; round += 1) {
    put(server, `n${round}`);
    await until("it is told", () => told.length === 1 + round);
    server.store.compact();
  }
  assert.equal(cache.status().lists, 1);
});

test("a bookmark moves a quiet watch on, so that it does not meet a version that is forgotten", async (t) => {
  const following = await startFollowing(t);
  const { server, cache } = following;
  await whole(following);
  await watching(following);
  server.whim = ({ query }) => (query.get("watch") === "1" ? { watch: { bookmarkOthers: true } } : undefined);
  server.breakAll();
  await until("it watches anew", () => cache.status().watches >= 2);
  const sinceMs = performance.now();
  const other = server.store.put("/api/v1/secrets", { metadata: { name: "other" } });
  await until("the bookmark has come", () => cache.silentMs() < performance.now() - sinceMs);
  server.store.compact();
  server.breakAll();
  const { resourceVersion } = other.metadata;
  await until("it goes on there", () => server.seen.at(-1)?.query.get("resourceVersion") === resourceVersion);
  await watching(following);
  assert.equal(cache.status().lists, 1);
});

test("what cannot be read is left out and its older version stays, until it is gone or another", async (t) => {
  const following = await startFollowing(t, {
    before: (server) => {
      put(server, "a");
      put(server, "bad", { a: 7 });
    },
  });
  const { server, cache, told } = following;
  await whole(following);
  assert.deepEqual(told, ["+a", "synced"]);
  assert.equal(cache.status().unreadable, 1);
  put(server, "a", { a: 8 });
  put(server, "b");
  await until("later news comes", () => told.at(-1) === "+b");
  assert.deepEqual(cache.get({ name: "a", namespace: "default" })?.data, { a: "1" }, "as it was last read");
  assert.equal(cache.status().unreadable, 2);
  put(server, "a", { a: "9" });
  await until("it can be read again", () => told.at(-1) === "~a");
  assert.equal(cache.status().unreadable, 1);
  put(server, "a", { a: 10 });
  remove(server, "a");
  await until("it is gone", () => told.at(-1) === "-a");
  remove(server, "bad");
  put(server, "c");
  await until("nothing is told of what was never held", () => told.at(-1) === "+c");
  assert.equal(cache.status().unreadable, 0);
});

test("a namesake that cannot be read proves the other gone, in a relist as well", async (t) => {
  const following = await startFollowing(t, { before: (server) => ["a", "b"].forEach((name) => put(server, name)) });
  const { server, told } = following;
  await whole(following);
  await watching(following);
  let out = true;
  server.whim = () => (out ? { drop: "before" } : undefined);
  server.breakAll();
  remove(server, "a");
  put(server, "a", { a: 7 });
  put(server, "b", { a: 7 });
  server.store.compact();
  out = false;
  await until("it is whole again", () => told.filter((what) => what === "synced").length === 2);
  assert.deepEqual(told.slice(3), ["-a", "synced"], "b is the same object, of a version that cannot be read");
});

test("a server that forgets at once, ends at once or refuses is asked ever more seldom", async (t) => {
  const whims = [{ answer: 410 }, { answer: 403 }, { answer: 500 }, { watch: { end: "in order", after: 0 } }] as const;
  const trials = whims.map(async (whim) => {
    const following = await startFollowing(t, { limits: { retryMs: 10, retryMaxMs: 10_000 } });
    following.server.whim = ({ query }) => (query.get("watch") === "1" ? whim : undefined);
    const startedMs = performance.now();
    await until("nine failures", () => following.cache.status().failures >= 9);
    // At least half of 10, 20, 40 and so on to 1280 ms lie between them.
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs >= 1275, `${JSON.stringify(whim)}: ${tookMs} ms`);
    assert.ok(following.server.seen.length <= 20);
    following.stop.abort();
  });
  await Promise.all(trials);
});

test("a server that does not answer at all is tried more often than one that refuses", async (t) => {
  const limits = { retryMs: 10, retryMaxMs: 10_000, unreachableRetryMaxMs: 20 };
  const follow = async (whim: Whim): Promise<Following> => {
    const following = await startFollowing(t, { limits });
    following.server.whim = ({ query }) => (query.get("watch") === "1" ? whim : undefined);
    return following;
  };
  const refusing = await follow({ answer: 403 });
  const away = await follow({ drop: "before" });
  await until("it was tried forty times", () => away.cache.status().failures >= 40);
  // Half of 10, 20, 40 and so on to 5120 ms is longer than forty waits of at most 20 ms.
  const { failures } = refusing.cache.status();
  assert.ok(failures <= 10, `${failures} of the one that refuses`);
});

test("a watch that told something, or lasted, lets the waits begin anew", async (t) => {
  const following = await startFollowing(t, { limits: { retryMs: 20, watchLivedMs: 60_000 } });
  const { server, cache } = following;
  await whole(following);
  let answering = true;
  server.whim = ({ query }) => (query.get("watch") === "1" && !answering ? { drop: "before" } : undefined);
  answering = false;
  server.breakAll();
  await until("five failures", () => cache.status().failures >= 5);
  answering = true;
  await watching(following);
  put(server, "a");
  await until("told", () => cache.all().length === 1);
  answering = false;
  server.breakAll();
  await until("failed again", () => cache.status().failures > 0);
  assert.ok(cache.status().failures < 5, String(cache.status().failures));
});

test("a listener that throws does not stop the cache", async (t) => {
  const following = await startFollowing(t, {
    before: (server) => put(server, "a"),
    onChange: () => {
      throw new Error("a bug of the listener");
    },
  });
  await whole(following);
  put(following.server, "b");
  await until("both are told", () => following.told.includes("+b"));
  assert.equal(following.cache.status().lists, 1);
});

test("who waits in vain is told why; and the following ends with its signal, or with the client", async (t) => {
  const { server, kube } = await startPair(t, { limits: quick });
  server.whim = () => ({ answer: 403, body: { kind: "Status", code: 403, reason: "Forbidden", message: "not you" } });
  const stop = new AbortController();
  const cache = kube.follow(configMaps, { signal: stop.signal });
  await until("it was refused", () => cache.status().failures > 0);
  await assert.rejects(cache.whenSynced(100, stop.signal), {
    code: "kube-unreachable",
    message: /configmaps.*not you/,
  });
  const waiting = cache.whenSynced(60_000, stop.signal);
  stop.abort();
  await assert.rejects(waiting, { code: "kube-unreachable" });
  await cache.done;
  const other = kube.follow(configMaps, { signal: new AbortController().signal });
  await kube.close();
  await other.done;
  assert.equal(other.synced(), false);
});

test("a kind that may be missing is none, until the server knows it; one that had objects must be missing twice", async (t) => {
  let isKnown = false;
  let refused = 0;
  const following = await startFollowing(t, {
    before: (server) => {
      server.whim = () => {
        if (isKnown) return undefined;
        refused += 1;
        return { answer: 404 };
      };
    },
    limits: { missingKindMs: 20 },
    selection: { mayBeMissing: true },
  });
  const { server, cache, told } = following;
  await whole(following);
  assert.deepEqual(told, ["synced"]);
  assert.equal(cache.status().failures, 0);
  put(server, "a");
  isKnown = true;
  await until("its objects are known", () => cache.all().length === 1);
  await watching(following);
  refused = 0;
  isKnown = false;
  server.breakAll();
  await until("it is gone", () => cache.all().length === 0);
  assert.ok(refused >= 2);
  assert.deepEqual(told, ["synced", "+a", "synced", "-a", "synced"]);
});

test("a good answer between two that do not know the kind makes them no two in a row", async (t) => {
  const answers: (Whim | undefined)[] = [];
  const following = await startFollowing(t, {
    before: (server) => {
      answers.push(...[404, 404, 404].map((answer) => ({ answer })));
      answers.push(undefined, { watch: { end: "in order", after: 1 } }, { answer: 404 });
      server.whim = () => answers.shift();
    },
    limits: { missingKindMs: 5 },
    selection: { mayBeMissing: true },
  });
  const { server, cache, told } = following;
  await whole(following);
  put(server, "a");
  await until("its objects are known", () => cache.all().length > 0);
  put(server, "b"); // ends the watch
  await until("the one that does not know it was met", () => answers.length === 0);
  await watching(following);
  await until("it follows", () => told.includes("+b"));
  assert.ok(!told.includes("-a"), told.join());
});

test("an object that is too long for a line of a watch is listed, and those behind it are told", async (t) => {
  const following = await startFollowing(t, { limits: { lineLenMax: 2000, retryMs: 5 } });
  const { server, told } = following;
  await watching(following);
  put(server, "long", { a: "x".repeat(3000) });
  put(server, "later");
  await until("both are told", () => told.includes("+long") && told.includes("+later"));
});

test("a kind that must be there is not taken for empty where the server does not know it", async (t) => {
  const following = await startFollowing(t, {
    before: (server) => {
      server.whim = () => ({ answer: 404 });
    },
    limits: { missingKindMs: 20 },
  });
  const { cache } = following;
  await until("it has failed", () => cache.status().failures > 2);
  assert.equal(cache.synced(), false);
});

test("one that is told to renew lists anew, without counting as a failure, and watches on", async (t) => {
  const following = await startFollowing(t, { before: (server) => put(server, "a") });
  const { server, cache, told } = following;
  await watching(following);
  cache.renew();
  await until("it has listed anew", () => cache.status().lists === 2);
  await until("it watches anew", () => cache.status().watches >= 2);
  put(server, "b");
  await until("it follows", () => told.includes("+b"));
  const { failures, lastError } = cache.status();
  assert.deepEqual([failures, lastError], [0, undefined]);
});

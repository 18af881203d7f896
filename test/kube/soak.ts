// One seed's story of a cache: a server that goes wrong in every way while its objects change, then calm, then both must agree.

import assert from "node:assert/strict";
import { pause } from "../../src/base/pause.ts";
import { connect } from "../../src/kube/connect.ts";
import type { CacheChange, CacheStatus } from "../../src/kube/contract.ts";
import { type ConfigMap, configMaps } from "../../src/kube/core-objects.ts";
import type { Limits } from "../../src/kube/limits.ts";
import { until } from "../until.ts";
import { type Chance, createChance } from "./chance.ts";
import { type Seen, startServer, type TestServer, type Whim } from "./server.ts";

const collection = "/api/v1/configmaps";
/** Of one byte, two, three and four: pieces are cut inside each of them. */
const words = ["a", "ß", "漢", "𝄞", "ü漢𝄞 — ok"];
const names = Array.from({ length: 12 }, (_, index) => `object-${index}`);
/** Longest time between two changes. */
const pauseMaxMs = 12;
/** A story is over after so many requests of the client, however fast the machine is, or so many changes. */
const requestsMin = 6;
const requestsMore = 20;
const stepsMax = 80;
/** How often a condition may be waited for in vain: a machine that is busy with other things takes its time. */
const waitsMax = 3;

/** Times of the client, scaled down so that a story is over in a moment. */
const limits = (chance: Chance): Partial<Limits> => ({
  callMs: 1000,
  retryAfterMaxMs: 5,
  watchIdleMs: 600,
  watchLivedMs: 60,
  retryMs: 2,
  retryMaxMs: 20,
  pageLen: 2 + chance.below(12),
});

export interface Told {
  whims: Map<string, number>;
  status: CacheStatus;
}

/** Plays the story of `seed`. @throws where at its end the cache, or what was told of it, is not what the server holds */
export async function playSeed(seed: number): Promise<Told> {
  const chance = createChance(seed);
  const whims = new Map<string, number>();
  const count = (what: string): void => void whims.set(what, (whims.get(what) ?? 0) + 1);
  const trouble = 20 + chance.below(60);
  const server = await startServer({
    whim: (seen) => {
      const whim = chance.is(trouble) ? drawWhim(chance, seen) : calmWhim(chance, seen);
      if (whim !== undefined) count(nameOfWhim(whim));
      return whim;
    },
  });
  for (let left = chance.below(20); left > 0; left -= 1) change(server, chance);
  const stop = new AbortController();
  const kube = connect({ address: { server: server.url }, userAgent: "soak/1", limits: limits(chance) });
  const story = createStory();
  const cache = kube.follow(configMaps, { signal: stop.signal, onChange: story.hear });
  try {
    const requests = requestsMin + chance.below(requestsMore);
    for (let step = 0; step < stepsMax && server.seen.length < requests; step += 1) {
      change(server, chance);
      if (chance.is(4)) {
        server.store.compact();
        count("compacted");
      }
      // Some changes come in one breath, some meet the client in the middle of something.
      if (chance.is(50)) await pause(chance.below(pauseMaxMs), stop.signal);
    }
    server.whim = () => undefined;
    const truth = (): unknown => contents(server.store.objects(collection));
    for (let wait = 1; !sameJson(contents(cache.all()), truth()); wait += 1) {
      await until("the cache agrees with the server", () => sameJson(contents(cache.all()), truth())).catch((cause) => {
        if (wait < waitsMax) return;
        const last = server.seen.slice(-3).map(({ path, query }) => `${path}?${query.toString()}`);
        throw new Error(`seed ${seed}: ${JSON.stringify({ status: cache.status(), last })}`, { cause });
      });
    }
    assert.ok(cache.synced(), `seed ${seed}: agrees without a list`);
    assert.deepEqual(
      story.contents(),
      truth(),
      `seed ${seed}: what was told, told again, is not what the server holds`,
    );
    return { whims, status: cache.status() };
  } finally {
    stop.abort();
    await cache.done;
    await kube.close();
    await server.stop();
  }
}

interface Story {
  hear: (change: CacheChange<ConfigMap>) => void;
  contents: () => unknown;
  /** What was told and does not follow from what was told before: a cache goes on when its listener throws, so it is kept here. */
  wrong: readonly string[];
}

/** Hears what a cache tells and holds what follows from it. */
function createStory(): Story {
  const objects = new Map<string, ConfigMap>();
  const wrong: string[] = [];
  return {
    wrong,
    hear: ({ before, after }) => {
      const { name } = (after ?? before)?.metadata ?? { name: "" };
      if (objects.get(name) !== before) wrong.push(`${name}: told as changed from what it was not`);
      if (before === after) wrong.push(`${name}: told as changed, and is the same`);
      if (before !== undefined && after !== undefined && before.metadata.uid === after.metadata.uid) {
        const [from = 0, to = 0] = [before, after].map(({ metadata }) => Number(metadata.resourceVersion));
        if (to <= from) wrong.push(`${name}: went back from ${from} to ${to}`);
      }
      if (after === undefined) objects.delete(name);
      else objects.set(name, after);
    },
    contents: () => contents([...objects.values()]),
  };
}

const contents = (objects: readonly { metadata: { name: string }; data?: unknown }[]): unknown =>
  objects
    .map(({ metadata, data }) => ({ metadata, data }))
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));

const sameJson = (one: unknown, other: unknown): boolean => sorted(one) === sorted(other);
/** Objects of two makers list their keys in different orders. */
const sorted = (value: unknown): string =>
  JSON.stringify(value, (_key, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );

function change({ store }: TestServer, chance: Chance): void {
  const metadata = { name: chance.pick(names), namespace: "default" };
  if (chance.is(30)) store.remove(collection, metadata.namespace, metadata.name);
  else store.put(collection, { metadata, data: { word: chance.pick(words).repeat(1 + chance.below(4)) } });
}

/** No trouble; but a watch ends now and then, and its pieces are cut anywhere. */
function calmWhim(chance: Chance, { query }: Seen): Whim | undefined {
  if (query.get("watch") !== "1") return undefined;
  const ends: Whim = { watch: { end: "in order", after: 1 + chance.below(6), bookmarkEvery: 2 } };
  if (chance.is(60)) return ends;
  return { watch: { ...(chance.is(50) ? { cut: chance } : {}), ...(chance.is(50) ? { bookmarkEvery: 2 } : {}) } };
}

function drawWhim(chance: Chance, { query }: Seen): Whim {
  const refusals: readonly Whim[] = [
    { answer: 429, headers: { "retry-after": "0" } },
    { answer: 429 },
    { answer: 500, body: "<html>no</html>" },
    { answer: 503, headers: { "retry-after": "0" } },
    { answer: 410 },
    { drop: "before" },
  ];
  if (chance.is(4)) return { stall: "before" };
  if (chance.is(26)) return chance.pick(refusals);
  if (query.get("watch") !== "1") {
    return chance.pick<Whim>([
      { cut: chance.below(100) / 100 },
      { drop: "after" },
      { answer: 200, body: "{" },
      { answer: 200, body: "[]" },
    ]);
  }
  const end = chance.pick([
    "in order",
    "broken",
    "silent",
    "half a line",
    "expired",
    "garbage",
    "half closed",
  ] as const);
  return {
    watch: {
      end,
      after: chance.below(8),
      cut: chance,
      ...(chance.is(50) ? { bookmarkEvery: 1 + chance.below(3) } : {}),
    },
  };
}

function nameOfWhim(whim: Whim): string {
  if ("answer" in whim) return `answer ${whim.answer}`;
  if ("watch" in whim) return `watch ${whim.watch.end ?? "served"}`;
  return "cut" in whim ? "cut" : "drop" in whim ? `drop ${whim.drop}` : `stall ${whim.stall}`;
}

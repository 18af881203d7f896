// The store by itself: versions, snapshots of the past, who hears of what, and what is forgotten.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Change, createStore } from "./store.ts";
import { type JsonObject, textAt } from "./value.ts";

const object = (name: string, part: JsonObject = {}): JsonObject => ({ metadata: { name }, ...part });
const keys = (list: ReturnType<ReturnType<typeof createStore>["list"]>): string[] | undefined =>
  list?.map(({ key }) => key);

void test("a listener of one value hears of what has it, and of what had it", () => {
  const store = createStore();
  const heard: string[] = [];
  const hear = ({ type, after }: Change): number => heard.push(`${type} ${after.key}`);
  const read = (each: JsonObject): string => textAt(each, "node") ?? "";
  const stop = store.subscribe("/pods", hear, { path: "node", read, value: "n1" });
  store.put("/pods", "a", object("a", { node: "n1" }));
  store.put("/pods", "b", object("b", { node: "n2" }));
  store.put("/pods", "b", object("b", { node: "n1" }));
  store.put("/pods", "a", object("a", { node: "n2" }));
  store.put("/pods", "a", object("a", { node: "n3" }));
  store.remove("/pods", "b");
  assert.deepEqual(heard, ["ADDED a", "MODIFIED b", "MODIFIED a", "DELETED b"]);
  stop();
  store.put("/pods", "c", object("c", { node: "n1" }));
  assert.equal(heard.length, 4);
});

void test("the JSON of a version is made once, and carries that version", () => {
  const store = createStore();
  const stored = store.put("/a", "x", object("x"));
  assert.equal(stored.encoded(), stored.encoded());
  assert.equal(
    textAt(JSON.parse(stored.encoded().toString()) as JsonObject, "metadata", "resourceVersion"),
    String(stored.version),
  );
});

/** A story of writes and removals over few keys. */
const story = fc.array(fc.record({ key: fc.constantFrom("a", "b", "c", "d"), remove: fc.boolean() }), {
  maxLength: 60,
});

void test("every version can be listed until it is compacted, and changes lead from each to the newest", () => {
  fc.assert(
    fc.property(story, fc.nat(), (steps, cut) => {
      const store = createStore();
      const moments = new Map<number, string[]>([[store.version(), []]]);
      for (const { key, remove } of steps) {
        if (!remove) store.put("/a", key, object(key));
        else if (store.get("/a", key) !== undefined) store.remove("/a", key);
        else store.put("/other", key, object(key));
        moments.set(store.version(), keys(store.list("/a")) ?? []);
      }
      const compactTo = 1 + (cut % store.version());
      store.compact(compactTo);
      for (const [version, expected] of moments) {
        assert.deepEqual(keys(store.list("/a", version)), version < compactTo ? undefined : expected);
        const changes = store.changesSince("/a", version);
        assert.equal(changes === undefined, version < compactTo);
        const replayed = new Set(expected);
        for (const { type, after } of changes ?? []) {
          if (type === "DELETED") replayed.delete(after.key);
          else replayed.add(after.key);
        }
        if (changes !== undefined) assert.deepEqual([...replayed].sort(), keys(store.list("/a")));
      }
    }),
  );
});

// Elements in parts, and with changes, are what a map is to which the same was done; what differs between two is what one that looks at all finds.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  changeElements,
  difference,
  type Element,
  bytesOfKey,
  textOfKey,
  type Elements,
  joinElements,
  ofSet,
} from "./elements.ts";

const elementsOf = (keys: readonly string[]): ReadonlyMap<string, Element> =>
  new Map(keys.map((key): [string, Element] => [key, ofSet]));

const letters = ["a", "b", "c", "d", "e", "f", "g", "h"];
const someKeys = fc.uniqueArray(fc.constantFrom(...letters), { maxLength: letters.length });
const steps = fc.array(fc.record({ remove: someKeys, add: someKeys }), { maxLength: 4 });
const parts = fc.array(someKeys.map(elementsOf), { maxLength: 4 });

/** The elements of parts after steps, and a map that has gone the same way. */
function walked(
  base: Elements,
  changes: readonly { remove: string[]; add: string[] }[],
): [Elements, Map<string, Element>] {
  const map = new Map(base);
  if (changes.length === 0) return [base, map];
  const changed = changeElements(base);
  for (const { remove, add } of changes) {
    changed.change(elementsOf(remove), elementsOf(add));
    for (const key of remove) map.delete(key);
    for (const [key, element] of elementsOf(add)) if (!map.has(key)) map.set(key, element);
  }
  return [changed, map];
}

void test("after any changes they are as a map after the same", () => {
  fc.assert(
    fc.property(parts, steps, (some, changes) => {
      const base = joinElements(some);
      const before = [...base];
      const [changed, map] = walked(base, changes);
      assert.deepEqual(new Map(changed), map);
      assert.equal([...changed].length, map.size, "each once");
      for (const key of letters) {
        assert.equal(changed.has(key), map.has(key));
        assert.deepEqual(changed.get(key), map.get(key));
      }
      assert.deepEqual([...base], before, "the base stays as it is");
    }),
  );
});

void test("what differs is found, whatever both share and whatever was changed since", () => {
  const pool = fc.array(someKeys.map(elementsOf), { minLength: 1, maxLength: 5 });
  const two = pool.chain((all) => fc.tuple(fc.subarray(all), fc.subarray(all), fc.boolean()));
  fc.assert(
    fc.property(two, steps, ([first, second, isRead], changes) => {
      const [before, held] = walked(joinElements(first), changes);
      const after = isRead ? new Map(joinElements(second)) : joinElements(second);
      const wanted = new Map(after);
      const { gone, come } = difference(before, after);
      assert.deepEqual([...gone.keys()].toSorted(), [...held.keys()].filter((key) => !wanted.has(key)).toSorted());
      assert.deepEqual([...come.keys()].toSorted(), [...wanted.keys()].filter((key) => !held.has(key)).toSorted());
    }),
    { numRuns: 1000 },
  );
});

void test("another verdict for a key goes and comes", () => {
  const [drop, accept] = [{ verdict: "drop" }, { verdict: "accept" }] as const;
  const of = (verdict: Element["verdict"]): Elements => new Map([["a", { ...(verdict && { verdict }) }]]);
  const { gone, come } = difference(of(drop), of(accept));
  assert.deepEqual([gone.get("a")?.verdict, come.get("a")?.verdict], [drop, accept]);
  assert.deepEqual(difference(of(drop), of(drop)), { gone: new Map(), come: new Map() });
});

void test("of far more than are looked up one by one, all that differ are found", () => {
  const named = (from: number): ReadonlyMap<string, Element> =>
    elementsOf(Array.from({ length: 1000 }, (_, at) => `m${from + at}`));
  const { gone, come } = difference(joinElements([named(0), named(1000)]), joinElements([named(1500), named(100)]));
  assert.deepEqual([gone.size, come.size], [100 + 400, 500]);
});

void test("a key is its bytes, whatever they are", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  assert.deepEqual(Uint8Array.from(bytesOfKey(textOfKey(bytes))), bytes);
});

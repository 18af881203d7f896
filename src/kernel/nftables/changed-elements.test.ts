// What changed elements give is what a map gives to which the same was done; and images of members that were there before are as without them.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { members, ruleset } from "../../../test/policy-rulesets.ts";
import { changedElements } from "./changed-elements.ts";
import { type Element, type Elements, policyImage } from "./policy-image.ts";

const elementsOf = (keys: readonly string[]): Elements =>
  new Map(keys.map((key): [string, Element] => [key, { key: Buffer.from(key) }]));

const letters = ["a", "b", "c", "d", "e", "f", "g", "h"];
const someKeys = fc.uniqueArray(fc.constantFrom(...letters), { maxLength: letters.length });

void test("after any changes they are as a map after the same", () => {
  const steps = fc.array(fc.record({ remove: someKeys, add: someKeys }), { maxLength: 6 });
  fc.assert(
    fc.property(someKeys, steps, (first, changes) => {
      const base = elementsOf(first);
      const [changed, map] = [changedElements(base), new Map(base)];
      for (const { remove, add } of changes) {
        changed.change(elementsOf(remove), elementsOf(add));
        for (const key of remove) map.delete(key);
        for (const [key, element] of elementsOf(add)) map.set(key, element);
      }
      assert.deepEqual(new Map(changed), map);
      assert.equal(changed.size, map.size);
      assert.deepEqual([...changed.keys()].toSorted(), [...map.keys()].toSorted());
      assert.equal([...changed.values()].length, map.size);
      for (const key of letters) {
        assert.equal(changed.has(key), map.has(key));
        assert.deepEqual(changed.get(key), map.get(key));
      }
      const told: string[] = [];
      changed.forEach((_, key) => told.push(key));
      assert.deepEqual(told, [...changed.keys()]);
      assert.deepEqual([...base.keys()], first, "the base stays as it is");
    }),
  );
});

void test("members that come, go and change places become what they become without an image before", () => {
  const some = fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 12 });
  const rulesetOf = (hosts: readonly number[]) =>
    ruleset({ memberSets: [members("m4", 4, ...hosts.map((host) => `10.0.0.${host}`))] });
  fc.assert(
    fc.property(some, some, (before, after) => {
      const image = policyImage(rulesetOf(after), policyImage(rulesetOf(before)));
      assert.deepEqual(image.sets.get("m4")?.elements, policyImage(rulesetOf(after)).sets.get("m4")?.elements);
    }),
  );
});

void test("far more members than are searched for, all turned around", () => {
  const hosts = Array.from({ length: 1000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
  const before = policyImage(ruleset({ memberSets: [members("m4", 4, ...hosts)] }));
  const turned = ruleset({ memberSets: [members("m4", 4, ...hosts.toReversed())] });
  const found = policyImage(turned, before).sets.get("m4")?.elements;
  assert.deepEqual(new Set(found?.keys()), new Set(before.sets.get("m4")?.elements?.keys()));
});

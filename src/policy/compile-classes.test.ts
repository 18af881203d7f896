// Numbers of classes: who shares one, how long it stays, when it may be another's, and what is believed of what was written down.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../base/fault.ts";
import { layerOf, rule, tcp } from "../../test/policy/compile-rules.ts";
import { type Classes, createClasses, firstClass, lastClass, openClass, readClasses } from "./compile-classes.ts";
import type { Layer, Subject } from "./model.ts";

type Layers = Pick<Subject, "egress" | "ingress">;

/** A pod whose only layer has this id. */
function pod(id: string): Layers {
  return { egress: [], ingress: [layerOf([], { id })] };
}

function assigned(classes: Classes, pods: Layers[], carried: Iterable<number> = []): number[] {
  return classes.assign(pods, new Set(carried)).map(({ classNumber }) => classNumber);
}

void describe("a class", () => {
  void test("is shared by pods with equal layers in both directions, and 100 by those without", () => {
    const layer = (id: string, some: Partial<Layer> = {}): Layer => layerOf([], { id, ...some });
    const numbers = assigned(createClasses(), [
      { egress: [layer("a")], ingress: [layer("b")] },
      { egress: [], ingress: [] },
      { egress: [layer("a")], ingress: [layer("b")] },
      { egress: [layer("b")], ingress: [layer("a")] },
      { egress: [layer("a"), layer("b")], ingress: [] },
      { egress: [], ingress: [layer("a"), layer("b")] },
      { egress: [layer("a", { kind: "networkPolicy" })], ingress: [layer("b")] },
      { egress: [layer("a")], ingress: [] },
      { egress: [layer("a, b")], ingress: [] },
    ]);
    assert.deepEqual(numbers, [101, openClass, 101, 102, 103, 104, 105, 106, 107]);
  });

  void test("keeps its number over edits of what its layers say", () => {
    const classes = createClasses();
    const before = assigned(classes, [pod("a"), pod("b")]);
    const edited = { egress: [], ingress: [layerOf([rule([tcp(80)])], { id: "b", otherwise: "audit" })] };
    assert.deepEqual(assigned(classes, [edited, pod("a")]), before.toReversed());
  });

  void test("that has gone comes back under its number while a link carries that", () => {
    const classes = createClasses();
    assert.deepEqual(assigned(classes, [pod("a"), pod("b")]), [101, 102]);
    assert.deepEqual(assigned(classes, [pod("c")], [101]), [103]);
    assert.deepEqual(assigned(classes, [pod("a"), pod("b")]), [101, 104]);
  });

  void test("that has gone leaves a number that rests until all others had their turn", () => {
    const classes = createClasses({ next: lastClass, numbers: {} });
    assert.deepEqual(assigned(classes, [pod("a")]), [lastClass]);
    assert.deepEqual(assigned(classes, [pod("b")]), [firstClass]);
    assert.deepEqual(assigned(classes, [pod("c")]), [firstClass + 1]);
  });

  void test("takes no number that a link carries, whoever gave it", () => {
    assert.deepEqual(assigned(createClasses(), [pod("a"), pod("b")], [101, 102, 104]), [103, 105]);
  });

  void test("takes the last number that is free; where none is, it is a bug", () => {
    const all = new Set(Array.from({ length: lastClass - firstClass + 1 }, (_, index) => firstClass + index));
    const classes = createClasses({ next: 40_000, numbers: {} });
    const but = new Set(all);
    but.delete(39_999);
    assert.deepEqual(assigned(classes, [pod("a")], but), [39_999]);
    assert.throws(
      () => assigned(classes, [pod("b")], all),
      (error) => isFault(error, "bug"),
    );
  });
});

void test("in any story a number is one identity's as long as a pod or a link needs it, and new ones follow upon each other", () => {
  const step = fc.record({
    pods: fc.array(fc.nat(6).map(String), { maxLength: 5 }),
    carried: fc.array(
      fc.nat(9).map((at) => firstClass + at),
      { maxLength: 4 },
    ),
    restart: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let classes = createClasses();
      const book = new Map<string, number>();
      let last = 0;
      for (const { pods, carried, restart } of steps) {
        if (restart) classes = createClasses(readClasses(JSON.parse(JSON.stringify(classes.kept()))));
        const numbers = assigned(classes, pods.map(pod), carried);
        for (const [id, number] of book) if (!pods.includes(id) && !carried.includes(number)) book.delete(id);
        for (const [index, id] of pods.entries()) {
          const number = numbers[index] ?? 0;
          const known = book.get(id);
          if (known === undefined) {
            assert.ok(number > last, `${number} has not been given before`); // nobody comes to the end here
            assert.ok(!carried.includes(number), `${number} is carried`);
            last = number;
            book.set(id, number);
          } else {
            assert.equal(number, known, `${id} keeps its number`);
          }
        }
      }
    }),
    { numRuns: 1000 },
  );
});

void describe("what was written down", () => {
  const hash = "0".repeat(64);

  void test("is read as it was", () => {
    const classes = createClasses();
    assigned(classes, [pod("a"), pod("b")]);
    const kept = readClasses(JSON.parse(JSON.stringify(classes.kept()))) ?? assert.fail("it can be read");
    assert.deepEqual(kept, classes.kept());
    assert.deepEqual(assigned(createClasses(kept), [pod("c"), pod("b"), pod("a")]), [103, 102, 101]);
  });

  const refused: [string, unknown][] = [
    ["nothing", undefined],
    ["no numbers", { next: 101 }],
    ["the open class", { next: 101, numbers: { [hash]: openClass } }],
    ["a number beyond the last", { next: 101, numbers: { [hash]: lastClass + 1 } }],
    ["a next that is none", { next: lastClass + 1, numbers: {} }],
    ["one number twice", { next: 101, numbers: { [hash]: 101, ["1".repeat(64)]: 101 } }],
    ["another identity than a hash", { next: 101, numbers: { a: 101 } }],
    ["more than there is", { next: 101, numbers: {}, more: 1 }],
  ];
  for (const [name, value] of refused) {
    void test(`is not believed: ${name}`, () => assert.equal(readClasses(value), undefined));
  }
});

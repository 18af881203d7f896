// Hits of rules through edits: what a layer that went had counted goes on under the rule that says the same.

import assert from "node:assert/strict";
import { test } from "node:test";
import { layerOf, rule, tcp } from "../../../test/policy/compile-rules.ts";
import { compileLayer } from "../../policy/compile-layer.ts";
import type { Rule } from "../../policy/model.ts";
import type { LookupCounts } from "../../policy/ruleset.ts";
import { createRuleCounts, type KnownLayer, rulesLabelledMax } from "./rule-hits.ts";

/** A layer of rules that each allow one port to everybody. */
function layer(id: string, ports: readonly number[]): KnownLayer {
  const rules = ports.map((port, index): Rule => ({
    ...rule([tcp(port)]),
    from: `SecurityGroup db ingress rule ${index + 1}`,
  }));
  const made = layerOf(rules, { id });
  return { layer: made, chains: compileLayer(made).chains };
}
const counted = ({ chains }: KnownLayer, ...ports: number[]): [string, LookupCounts] => [
  chains.name,
  { ports, peerLists: [], rest: [] },
];

/** Counts over a kernel that says `living` and `gone`. */
function stand() {
  let living = new Map<string, LookupCounts>();
  let gone = new Map<string, LookupCounts>();
  const counts = createRuleCounts({
    lookups: async (asked) =>
      new Map(
        Array.from(asked, ({ name }) => name).flatMap((name) => {
          const found = living.get(name);
          return found === undefined ? [] : [[name, found] as const];
        }),
      ),
    goneLookups: () => {
      const taken = gone;
      gone = new Map();
      return taken;
    },
  });
  const become = (
    layers: readonly KnownLayer[],
    said: [string, LookupCounts][],
    went: [string, LookupCounts][],
  ): void => {
    counts.know(layers);
    living = new Map(said);
    gone = new Map(went);
    counts.settle();
  };
  const read = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      (await counts.read()).map(({ rule: from, max }) => [from.slice("SecurityGroup db ingress ".length), max]),
    );
  return { become, read, know: counts.know, totals: () => Object.fromEntries(counts.totals()) };
}

void test("a rule keeps its hits while others of its object change, and begins anew where it changes itself", async () => {
  const { become, read } = stand();
  const first = layer("a", [80, 443]);
  become([first], [counted(first, 3, 4)], []);
  assert.deepEqual(await read(), { "rule 1": 3, "rule 2": 4 });
  const edited = layer("a", [22, 443, 81]);
  become([edited], [counted(edited, 0, 0, 1)], [counted(first, 5, 6)]);
  assert.deepEqual(await read(), { "rule 1": 0, "rule 2": 7, "rule 3": 0 });
});

void test("a rule in several layers has the hits of all; what went before is added once", async () => {
  const { become, read } = stand();
  const [one, other, gone] = [layer("a", [80]), layer("b", [80]), layer("c", [80])];
  become([one, other, gone], [], []);
  become([one, other], [counted(one, 2), counted(other, 5)], [counted(gone, 10)]);
  assert.deepEqual(await read(), { "rule 1": 17 });
});

void test("what the kernel does not tell of has no hits that are known", async () => {
  const { become, read } = stand();
  const one = layer("a", [80]);
  become([one], [], [counted(layer("never known", [80]), 9)]);
  assert.deepEqual(await read(), { "rule 1": 0 });
});

void test("layers that are about to come tell nothing: what is there still tells", async () => {
  const { become, read, know } = stand();
  const [first, next] = [layer("a", [80]), layer("b", [80])];
  become([first], [counted(first, 3)], []);
  know([next]); // and then the kernel refuses them
  assert.deepEqual(await read(), { "rule 1": 3 });
  become([next], [counted(next, 1)], [counted(first, 3)]);
  assert.deepEqual(await read(), { "rule 1": 4 });
});

void test("totals go on when a rule gives its place to another, goes for a moment, or comes back", async () => {
  const { become, read, totals } = stand();
  const [one, other] = [layer("a", [80]), layer("a", [81])];
  const steps: [KnownLayer, [string, LookupCounts][], [string, LookupCounts][]][] = [
    [one, [counted(one, 3)], []],
    [one, [], []], // not there for a moment
    [one, [counted(one, 4)], []],
    [other, [counted(other, 1)], [counted(one, 5)]],
    [one, [counted(one, 2)], [counted(other, 1)]],
  ];
  const seen: (number | undefined)[] = [];
  for (const [layerNow, living, gone] of steps) {
    become([layerNow], living, gone);
    await read();
    seen.push(totals()["SecurityGroup db ingress rule 1"]);
  }
  assert.deepEqual(
    seen,
    [3, 3, 4, 5, 8],
    "the packet that was counted as its layer went is told once that rule is back",
  );
});

void test("beyond so many rules the rest is summed", async () => {
  const { become, read, totals } = stand();
  const ports = Array.from({ length: rulesLabelledMax + 40 }, (_, index) => index + 1);
  const wide = layer("wide", ports);
  become([wide], [counted(wide, ...ports.map(() => 1))], []);
  await read();
  const sums = Object.values(totals());
  assert.equal(sums.length, rulesLabelledMax + 1);
  assert.equal(totals()["others"], 40);
});

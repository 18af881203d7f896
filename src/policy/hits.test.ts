// What rules have let begin, from what lookups have counted: exact where a lookup is one rule's, else between two bounds.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { block, db, layerOf, rule, tcp, web } from "../../test/policy/compile-rules.ts";
import { lookupCounts, rulesAllow } from "../../test/policy/compile-view.ts";
import { anyLayer, memberships, packet } from "../../test/policy/compile-world.ts";
import { compileLayer } from "./compile-layer.ts";
import { createCompiler } from "./compile.ts";
import { ruleHits, ruleKey } from "./hits.ts";
import type { Rule } from "./model.ts";
import type { LookupCounts } from "./ruleset.ts";

/** Of an ingress layer of these rules: "5", or "0-5" where it is not sure. */
function hitsOf(rules: Rule[], counts: Partial<LookupCounts>): string[] {
  const layer = layerOf(rules);
  const { chains } = compileLayer(layer);
  const full = { ports: [], peerLists: [], rest: [], ...counts };
  assert.deepEqual(
    [full.ports.length, full.peerLists.map(({ length }) => length), full.rest.length],
    [chains.ports.length, chains.peerLists.map(({ length }) => length), chains.rest.length],
    "the counts are of this layer",
  );
  return ruleHits(layer, chains, full).map(({ min, max }) => (min === max ? String(min) : `${min}-${max}`));
}

void describe("hits of rules", () => {
  const cases: [string, Rule[], Partial<LookupCounts>, string[]][] = [
    ["the ports of a rule", [rule([tcp(80), tcp(443)], web)], { ports: [5, 2], peerLists: [[6, 1]] }, ["7"]],
    ["whom no test allows is no hit", [rule([tcp(80)], web)], { ports: [9], peerLists: [[3, 0]] }, ["3"]],
    [
      "two rules share a list and all were allowed: each its own port",
      [rule([tcp(80)], web), rule([tcp(443)], web)],
      { ports: [5, 2], peerLists: [[7, 0]] },
      ["5", "2"],
    ],
    [
      "two rules share a list, and one was never asked",
      [rule([tcp(80)], web), rule([tcp(443)], web)],
      { ports: [9, 0], peerLists: [[7, 0]] },
      ["7", "0"],
    ],
    [
      "two rules share a list, both asked, and some were denied",
      [rule([tcp(80)], web), rule([tcp(443)], web)],
      { ports: [9, 4], peerLists: [[7, 0]] },
      ["3-7", "0-4"],
    ],
    [
      "one port, and rules with peers of their own",
      [rule([tcp(80)], web), rule([tcp(80)], db)],
      { ports: [9], peerLists: [[4, 1, 0, 2]] },
      ["4", "3"],
    ],
    [
      "one port, and networks of two rules that are one set",
      [rule([tcp(80)], block("10.0.0.0/8")), rule([tcp(80)], block("192.168.0.0/16"))],
      { ports: [9], peerLists: [[4]] },
      ["0-4", "0-4"],
    ],
    [
      "a network that is everybody of its family stands for members, too",
      [rule([tcp(80)], block("0.0.0.0/0")), rule([tcp(80)], web)],
      { ports: [9], peerLists: [[4, 5]] },
      ["0-4", "5-9"],
    ],
    ["everybody", [rule([tcp(80)]), rule([tcp(81)], web)], { ports: [3, 0], peerLists: [[0, 0]] }, ["3", "0"]],
    [
      "messages, whole protocols, ranges, and all of it",
      [rule([{ protocol: 1, type: 8 }]), rule([{ protocol: 47 }], db), rule([tcp(1000, 2000)], web), rule([], web)],
      { rest: [1, 2, 3, 4, 5, 6, 7] },
      ["1", "5", "9", "13"],
    ],
    [
      "ports by the names that peers give them",
      [rule([{ protocol: 6, peerPort: "http" }], web), rule([{ protocol: 6, peerPort: "http" }], db)],
      { rest: [1, 2, 3, 4] },
      ["3", "7"],
    ],
  ];
  for (const [name, rules, counts, expected] of cases) {
    void test(name, () => assert.deepEqual(hitsOf(rules, counts), expected));
  }
});

void test("whatever the rules and packets: no rule has fewer hits than were its alone, nor more than it allows", () => {
  let exact = 0;
  let asked = 0;
  fc.assert(
    fc.property(
      anyLayer,
      memberships,
      fc.array(packet, { minLength: 20, maxLength: 20 }),
      (layer, members, packets) => {
        const { compile, factsOf } = createCompiler();
        const subject = { egress: [], ingress: [], [layer.direction]: [layer] };
        const ruleset = compile({
          subjects: [{ subject, classNumber: 101 }],
          memberships: members,
          links: new Set(),
          groupsJudgeOwnNode: false,
        });
        const { name } = factsOf(layer);
        const chains = ruleset.layers.get(name) ?? assert.fail(name);
        const hits = ruleHits(layer, chains, lookupCounts(ruleset, name, packets));
        const allowing = packets.map((sent) =>
          layer.rules.flatMap((one, index) => (rulesAllow({ ...layer, rules: [one] }, members, sent) ? [index] : [])),
        );
        for (const [index, { min, max }] of hits.entries()) {
          const alone = allowing.filter((those) => those.length === 1 && those[0] === index).length;
          const most = allowing.filter((those) => those.includes(index)).length;
          assert.ok(max >= alone, `rule ${index}: at most ${max}, and ${alone} were its alone`);
          assert.ok(min <= most, `rule ${index}: at least ${min}, and it allows ${most}`);
          assert.ok(min <= max);
          asked += 1;
          if (min === max) exact += 1;
        }
        const passed = allowing.filter((those) => those.length > 0).length;
        assert.ok(hits.reduce((sum, { max }) => sum + max, 0) >= passed, "every packet that passed is some rule's");
      },
    ),
    { numRuns: 1000 },
  );
  assert.ok(exact > asked / 2, `${exact} of ${asked} are exact`);
});

void test("a rule is known again when others of its object come and go, not when it says something else", () => {
  const one = { ...rule([tcp(80)], web), from: "SecurityGroup db ingress rule 1" };
  assert.equal(ruleKey({ ...one, from: "SecurityGroup db ingress rule 4" }), ruleKey(one));
  assert.notEqual(ruleKey({ ...one, ports: [tcp(81)] }), ruleKey(one));
  assert.notEqual(ruleKey({ ...one, from: "SecurityGroup web ingress rule 1" }), ruleKey(one));
});

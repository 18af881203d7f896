// From one ruleset to the next: elements that go and come, and what stays for links that have not moved yet.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { block, layerOf, rule, tcp, web } from "../../test/policy/compile-rules.ts";
import { namedSets } from "../../test/policy/compile-view.ts";
import { ip, key, memberships, subjectsOn, twoMemberships } from "../../test/policy/compile-world.ts";
import { memberChanges, withCarried } from "./compile-changes.ts";
import { uniqueElements } from "./compile-sets.ts";
import { createCompiler } from "./compile.ts";
import { createClasses } from "./compile-classes.ts";
import type { Layer, Member, Memberships } from "./model.ts";
import type { MemberElement, PolicyRuleset } from "./ruleset.ts";

const { compile } = createCompiler();

function rulesetOf(layer: Layer, told: Memberships, classNumber = 101): PolicyRuleset {
  const subject = { egress: [], ingress: [], [layer.direction]: [layer] };
  return compile({
    subjects: [{ subject, classNumber }],
    memberships: told,
    links: new Set(["fl1"]),
    groupsJudgeOwnNode: false,
  });
}

const told = (...members: Member[]): Memberships => new Map([[key("a"), [members]]]);
const member = (address: string, ...numbers: number[]): Member => ({
  address: ip(address),
  ports: numbers.map((port) => ({ name: "http", protocol: 6, port })),
});

void describe("elements", () => {
  const layer = layerOf([rule([tcp(80)], web)]);

  void test("that go and that come, by set", () => {
    const before = rulesetOf(layer, told(member("10.0.0.1"), member("10.0.0.2"), member("fd00::1")));
    const after = rulesetOf(layer, told(member("10.0.0.2"), member("10.0.0.3"), member("fd00::1")));
    const changes = memberChanges(before, after).map(({ set, remove, add }) => [set.name, remove, add]);
    assert.deepEqual(changes, [[`m4_${key("a")}`, [{ address: "10.0.0.1" }], [{ address: "10.0.0.3" }]]]);
  });

  void test("of a set with ports: another number is another element", () => {
    const named = layerOf([rule([{ protocol: 6, peerPort: "http" }], web)], { direction: "egress" });
    const before = rulesetOf(named, told(member("10.0.0.1", 80)));
    const after = rulesetOf(named, told(member("10.0.0.1", 81)));
    const [change, ...others] = memberChanges(before, after);
    assert.equal(others.length, 0);
    assert.deepEqual(change?.remove, [{ address: "10.0.0.1", protocol: 6, port: 80 }]);
    assert.deepEqual(change.add, [{ address: "10.0.0.1", protocol: 6, port: 81 }]);
  });

  void test("in another order change nothing, and sets that only one side has are not named", () => {
    const before = rulesetOf(layer, told(member("10.0.0.1"), member("10.0.0.2")));
    assert.deepEqual(memberChanges(before, rulesetOf(layer, told(member("10.0.0.2"), member("10.0.0.1")))), []);
    const none = rulesetOf(layerOf([]), told());
    assert.deepEqual([memberChanges(none, before), memberChanges(before, none)], [[], []]);
  });

  void test("removed and added to what was held give what is to be held", () => {
    const layers = layerOf([rule([tcp(80), { protocol: 6, peerPort: "http" }], web, { members: key("b") })], {
      direction: "egress",
    });
    const texts = (elements: readonly MemberElement[]): string[] =>
      elements.map((one) => JSON.stringify(one)).toSorted();
    fc.assert(
      fc.property(twoMemberships, ([first, second]) => {
        const [before, after] = [rulesetOf(layers, first), rulesetOf(layers, second)];
        const changes = new Map(memberChanges(before, after).map((change) => [change.set.name, change]));
        for (const [name, { parts }] of before.memberSets) {
          const { remove = [], add = [] } = changes.get(name) ?? {};
          const held = new Set(texts(uniqueElements(parts)));
          for (const gone of texts(remove)) assert.ok(held.delete(gone), `${gone} was held`);
          for (const come of texts(add)) {
            assert.ok(!held.has(come), `${come} was not held`);
            held.add(come);
          }
          assert.deepEqual([...held].toSorted(), texts(uniqueElements(after.memberSets.get(name)?.parts ?? [])));
        }
      }),
      { numRuns: 500 },
    );
  });
});

void describe("while links move", () => {
  const old = layerOf([rule([tcp(80)], web, block("10.0.0.0/8"))], { id: "old" });
  const before = rulesetOf(old, told(member("10.0.0.1")));
  const after = rulesetOf(layerOf([rule([tcp(81)], { members: key("b") })], { id: "new" }), told(), 102);

  void test("a class that a link carries stays with all that it needs, beside everything new", () => {
    const both = withCarried(before, after, new Set([101]));
    assert.deepEqual([...both.classes.keys()], [101, 102]);
    assert.deepEqual(both.classes.get(101), before.classes.get(101));
    for (const part of ["layers", "memberSets", "blockSets"] as const) {
      assert.deepEqual(new Set(both[part].keys()), new Set([...before[part].keys(), ...after[part].keys()]));
    }
  });

  void test("once no link carries it, nothing of it is left", () => {
    assert.equal(withCarried(before, after, new Set([100, 102])), after);
    const both = withCarried(before, after, new Set([101]));
    assert.deepEqual(withCarried(both, after, new Set([102])), after);
  });

  void test("a class for which there is no room is left out, and nothing of what is to be", () => {
    const room = { ports: 2, rules: 7, addresses: 2 }; // 80 and 81; lists of two tests and of three; 10.0.0.1 and 10.0.0.0/8
    assert.ok(withCarried(before, after, new Set([101]), room).classes.has(101));
    for (const what of ["ports", "rules", "addresses"] as const) {
      assert.equal(withCarried(before, after, new Set([101]), { ...room, [what]: room[what] - 1 }), after, what);
    }
  });

  void test("sets and classes that both have are as they are to be", () => {
    const edited = rulesetOf(old, told(member("10.0.0.2")), 101);
    assert.equal(withCarried(before, edited, new Set([101])), edited);
    const moved = rulesetOf(layerOf([rule([tcp(81)], web)], { id: "new" }), told(member("10.0.0.2")), 102);
    const both = withCarried(before, moved, new Set([101]));
    assert.deepEqual(both.memberSets.get(`m4_${key("a")}`)?.parts, [[{ address: "10.0.0.2" }]]);
  });

  void test("nothing is missing and nothing left over, whatever moves", () => {
    fc.assert(
      fc.property(subjectsOn("here"), subjectsOn("here"), memberships, (first, second, members) => {
        const classes = createClasses();
        const compiled = [first, second].map((subjects) =>
          compile({
            subjects: classes.assign(subjects, new Set()),
            memberships: members,
            links: new Set(),
            groupsJudgeOwnNode: false,
          }),
        );
        const [held, next] = [compiled[0] ?? before, compiled[1] ?? after];
        const both = withCarried(held, next, new Set(held.classes.keys()));
        assert.deepEqual(new Set(both.classes.keys()), new Set([...held.classes.keys(), ...next.classes.keys()]));
        assert.deepEqual(namedSets(both), new Set([...both.memberSets.keys(), ...both.blockSets.keys()]));
        const used = [...both.classes.values()].flatMap(({ egress, ingress, toNode }) => [
          ...egress,
          ...ingress,
          ...toNode,
        ]);
        assert.deepEqual(new Set(both.layers.keys()), new Set(used));
      }),
      { numRuns: 300 },
    );
  });
});

// Whatever the rules: the lookups that they become decide as the rules say, equal content has equal names, and no set is missing or left over.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { cidrsOverlap } from "../net/cidr.ts";
import { classesPass, lookupAllows, namedSets, rulesAllow } from "../../test/policy/compile-view.ts";
import { anyLayer, memberships, packet, subjectsOn } from "../../test/policy/compile-world.ts";
import { createClasses } from "./compile-classes.ts";
import { createCompiler } from "./compile.ts";
import { createJudge } from "./judge.ts";
import type { Layer, Memberships } from "./model.ts";
import type { PolicyRuleset } from "./ruleset.ts";

function compileOne(layer: Layer, members: Memberships): { ruleset: PolicyRuleset; name: string } {
  const { compile, factsOf } = createCompiler();
  const subject = { egress: [], ingress: [], [layer.direction]: [layer] };
  const ruleset = compile({
    subjects: [{ subject, classNumber: 101 }],
    memberships: members,
    links: new Set(),
    groupsJudgeOwnNode: false,
  });
  return { ruleset, name: factsOf(layer).name };
}

void test("lookups decide as the rules that they are made of", () => {
  let allowed = 0;
  let asked = 0;
  fc.assert(
    fc.property(
      anyLayer,
      memberships,
      fc.array(packet, { minLength: 20, maxLength: 20 }),
      (layer, members, packets) => {
        const { ruleset, name } = compileOne(layer, members);
        for (const sent of packets) {
          const expected = rulesAllow(layer, members, sent);
          assert.equal(lookupAllows(ruleset, name, sent), expected, JSON.stringify(sent));
          asked += 1;
          if (expected) allowed += 1;
        }
      },
    ),
    { numRuns: 2000 },
  );
  // A world in which nearly everything passes, or nothing, would prove little.
  assert.ok(allowed > asked / 8 && allowed < (asked * 7) / 8, `${allowed} of ${asked} passed`);
});

void test("classes of both ends decide as the judge does, over rulesets that change one after the other", () => {
  const compiler = createCompiler();
  const classes = createClasses();
  let denied = 0;
  let asked = 0;
  fc.assert(
    fc.property(
      subjectsOn("here"),
      memberships,
      fc.array(packet, { minLength: 10, maxLength: 10 }),
      (subjects, members, packets) => {
        const classed = classes.assign(subjects, new Set());
        const ruleset = compiler.compile({
          subjects: classed,
          memberships: members,
          links: new Set(),
          groupsJudgeOwnNode: false,
        });
        const judge = createJudge({ subjects, nodes: new Map(), memberships: members, groupsJudgeOwnNode: false });
        const classAt = (address: string): number | undefined =>
          classed.find(({ subject }) => subject.pod.addresses.some((own) => own === address))?.classNumber;
        for (const sent of packets) {
          const [source, target] = [classAt(sent.source), classAt(sent.destination)];
          if (sent.source === sent.destination) continue; // a link to itself passes the base chains
          const expected = judge.verdict(sent).passes;
          const ends = { ...(source === undefined ? {} : { source }), ...(target === undefined ? {} : { target }) };
          assert.equal(classesPass(ruleset, ends, sent), expected, JSON.stringify(sent));
          asked += 1;
          if (!expected) denied += 1;
        }
      },
    ),
    { numRuns: 1000 },
  );
  assert.ok(denied > asked / 8 && denied < (asked * 7) / 8, `${denied} of ${asked} denied`);
});

void test("rules in another order, or said twice, become the same layer", () => {
  fc.assert(
    fc.property(anyLayer, memberships, (layer, members) => {
      const turned = {
        ...layer,
        rules: [...layer.rules, ...layer.rules].toReversed().map((rule) => ({
          ...rule,
          ports: rule.ports.toReversed(),
          peers: rule.peers.toReversed(),
        })),
      };
      const [one, other] = [compileOne(layer, members), compileOne(turned, members)];
      assert.deepEqual(other.ruleset, one.ruleset);
    }),
    { numRuns: 1000 },
  );
});

void test("layers of the same objects have one name exactly where they are one", () => {
  fc.assert(
    fc.property(anyLayer, anyLayer, (a, another) => {
      const none = new Map();
      const b = { ...another, kind: a.kind, id: a.id };
      const [one, other] = [compileOne(a, none), compileOne(b, none)].map(({ ruleset, name }) => {
        const { name: _, ...content } = ruleset.layers.get(name) ?? assert.fail(`a layer ${name}`);
        return { name, content: JSON.stringify(content) };
      });
      assert.equal(one?.name === other?.name, one?.content === other?.content);
    }),
    { numRuns: 1000 },
  );
});

void test("a ruleset has the sets that its layers name and no others; blocks stand apart, elements once", () => {
  fc.assert(
    fc.property(anyLayer, memberships, (layer, members) => {
      const { ruleset } = compileOne(layer, members);
      const { memberSets, blockSets, layers } = ruleset;
      assert.deepEqual(new Set([...memberSets.keys(), ...blockSets.keys()]), namedSets(ruleset));
      for (const { blocks } of blockSets.values()) {
        assert.ok(blocks.length > 0, "a set of blocks has blocks");
        for (const [index, block] of blocks.entries()) {
          assert.ok(!blocks.slice(index + 1).some((other) => cidrsOverlap(block, other)), `${block} stands apart`);
        }
      }
      for (const elements of [...memberSets.values()].flatMap(({ parts }) => parts)) {
        assert.equal(new Set(elements.map((element) => JSON.stringify(element))).size, elements.length);
      }
      for (const { ports, peerLists } of layers.values()) {
        assert.equal(new Set(ports.map(({ protocol, port }) => `${protocol} ${port}`)).size, ports.length);
        const used = new Set(ports.map(({ peers }) => peers).filter((peers) => peers !== "any"));
        assert.equal(used.size, peerLists.length, "every list is used");
        assert.ok(
          peerLists.every((tests) => tests.length > 0),
          "a list has tests",
        );
      }
    }),
    { numRuns: 1000 },
  );
});

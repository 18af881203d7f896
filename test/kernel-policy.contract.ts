// The kernel contract's part on policy: which ruleset the kernel holds, told by what `ensure` had to change.

import assert from "node:assert/strict";
import { test } from "node:test";
import { policyLimits } from "../src/kernel/contract.ts";
import { baseCounters } from "../src/policy/counters.ts";
import type { PolicyRuleset } from "../src/policy/ruleset.ts";
import { type MakeKernel, faultOf } from "./kernel-stage.ts";
import { blocks, emptyRuleset, fullRuleset, layer, member, members, ruleset, tcp } from "./policy-rulesets.ts";

/** Two classes, one with two layers; layers, members and networks of their own. */
const parts = {
  classes: { 101: { egress: ["one"] }, 102: { egress: ["one", "two"], ingress: ["in"] } },
  layers: [
    layer("one", { ports: [{ protocol: tcp, port: 80, peers: 0 }], peerLists: [[{ family: 4, set: "m4" }]] }),
    layer("two", { rest: [{ peer: { family: 6, set: "b6" } }] }),
    layer("in", { direction: "ingress", rest: [{ protocol: tcp, peer: { family: 4, set: "m4" } }] }),
  ],
  memberSets: [members("m4", 4, "10.4.1.3", "10.4.1.4")],
  blockSets: [blocks("b6", "2001:db8::/32")],
  links: ["fl1"],
} as const;
const start = ruleset(parts);

const [one, two, into] = parts.layers;
const another = layer("another", { rest: [{ protocol: 47 }] });

/** Each is another ruleset than the one above, and than each other. */
const others: Record<string, PolicyRuleset> = {
  "no policy": emptyRuleset,
  "a class more": ruleset({ ...parts, classes: { ...parts.classes, 103: {} } }),
  "a class fewer": ruleset({ ...parts, classes: { 101: { egress: ["one"] } } }),
  "a class with another layer": ruleset({ ...parts, classes: { ...parts.classes, 101: { egress: ["two"] } } }),
  "a class that is open": ruleset({ ...parts, classes: { ...parts.classes, 101: {} } }),
  "both directions of classes changed": ruleset({
    ...parts,
    classes: { 101: { ingress: ["in"] }, 102: { egress: ["two"], ingress: [] } },
  }),
  "classes that judge the node": ruleset({ ...parts, classes: { ...parts.classes, 101: { toNode: ["two"] } } }),
  "a layer replaced": ruleset({
    ...parts,
    classes: { 101: { egress: ["another"] }, 102: { egress: ["another", "two"], ingress: ["in"] } },
    layers: [another, two, into],
  }),
  "a layer more": ruleset({ ...parts, layers: [...parts.layers, another] }),
  "a member more": ruleset({ ...parts, memberSets: [members("m4", 4, "10.4.1.3", "10.4.1.4", "10.4.1.5")] }),
  "a member fewer": ruleset({ ...parts, memberSets: [members("m4", 4, "10.4.1.3")] }),
  "no members": ruleset({ ...parts, memberSets: [members("m4", 4)] }),
  "networks replaced": ruleset({
    ...parts,
    layers: [one, layer("wider", { rest: [{ peer: { family: 6, set: "b6_wider" } }] }), into],
    classes: { ...parts.classes, 102: { egress: ["one", "wider"], ingress: ["in"] } },
    blockSets: [blocks("b6_wider", "2001:db8::/31")],
  }),
  "links of pods": ruleset({ ...parts, links: ["fl2", "fl3"] }),
  "some of everything": fullRuleset,
};

const changes = (set: string, ...elements: string[]) => new Map([[set, elements.map(member)]]);

/** Registers the tests. */
export function testPolicy(make: MakeKernel): void {
  for (const trust of [undefined, "as left"] as const) {
    for (const [name, other] of Object.entries(others)) {
      void test(`policy becomes another and goes back, ${trust ?? "read"}: ${name}`, async (t) => {
        const { policy } = (await make(t)).kernel;
        assert.equal(await policy.ensure(start, trust), true);
        assert.equal(await policy.ensure(start, trust), false);
        assert.equal(await policy.ensure(other, trust), true);
        assert.equal(await policy.ensure(other, trust), false);
        assert.equal(await policy.ensure(start, trust), true);
        assert.equal(await policy.ensure(start), false);
      });
    }
  }

  void test("the order of a ruleset's parts is nothing that it says", async (t) => {
    const { policy } = (await make(t)).kernel;
    await policy.ensure(start);
    const turned = ruleset({
      ...parts,
      classes: Object.fromEntries(Object.entries(parts.classes).toReversed()),
      layers: parts.layers.toReversed(),
      memberSets: [members("m4", 4, "10.4.1.4", "10.4.1.3")],
    });
    assert.equal(await policy.ensure(turned), false);
  });

  void test("members come and go; what is there or gone already is no error", async (t) => {
    const { policy } = (await make(t)).kernel;
    await policy.ensure(start);
    await policy.change({ remove: changes("m4", "10.4.1.3", "10.4.1.99"), add: changes("m4", "10.4.1.4", "10.4.1.5") });
    const changed = ruleset({ ...parts, memberSets: [members("m4", 4, "10.4.1.4", "10.4.1.5")] });
    assert.equal(await policy.ensure(changed), false);
    await policy.change({ remove: changes("m4", "10.4.1.5"), add: changes("m4", "10.4.1.3", "10.4.1.5") });
    const more = ruleset({ ...parts, memberSets: [members("m4", 4, "10.4.1.3", "10.4.1.4", "10.4.1.5")] });
    assert.equal(await policy.ensure(more), false, "removed and added: it is there");
    await policy.change({ remove: changes("m4", "10.4.1.5") });
    await policy.change({});
    assert.equal(await policy.ensure(start), false);
    assert.equal(await policy.ensure(changed), true);
  });

  void test("members of sets with ports are addresses with ports", async (t) => {
    const { policy } = (await make(t)).kernel;
    await policy.ensure(fullRuleset);
    await policy.change({
      add: changes("m_http4", "10.4.1.9 tcp 8443"),
      remove: changes("m_http4", "10.4.1.4 tcp 80"),
    });
    assert.equal(await policy.ensure(fullRuleset), true);
    await policy.change({ add: changes("m_http4", "10.4.1.4 tcp 80"), remove: changes("m_http4", "10.4.1.4 tcp 81") });
    assert.equal(await policy.ensure(fullRuleset), false);
  });

  void test("links of pods come and go", async (t) => {
    const { policy } = (await make(t)).kernel;
    await policy.ensure(start);
    await policy.admit(["fl1", "fl7"]);
    assert.equal(await policy.ensure(ruleset({ ...parts, links: ["fl1", "fl7"] })), false);
    await policy.withdraw(["fl1", "fl8"]);
    assert.equal(await policy.ensure(ruleset({ ...parts, links: ["fl7"] })), false);
  });

  void test("a link comes with members, or not at all", async (t) => {
    const { policy } = (await make(t)).kernel;
    await policy.ensure(fullRuleset);
    await assert.rejects(policy.admit(["fl3"], changes("other", "10.4.1.9")), faultOf("kernel-missing"));
    assert.equal(await policy.ensure(fullRuleset), false);
    await policy.admit(["fl3"], changes("m_http4", "10.4.1.9 tcp 8443"));
    assert.equal(await policy.ensure(fullRuleset), true, "link and member are there");
    await policy.admit(["fl3"], changes("m_http4", "10.4.1.9 tcp 8443"));
    await policy.change({ remove: changes("m_http4", "10.4.1.9 tcp 8443") });
    await policy.withdraw(["fl3"]);
    assert.equal(await policy.ensure(fullRuleset), false, "and nothing else");
  });

  void test("what cannot change is refused, and changes nothing", async (t) => {
    const { policy } = (await make(t)).kernel;
    await assert.rejects(policy.change({ add: changes("m4", "10.4.1.9") }), faultOf("kernel-missing"));
    await assert.rejects(policy.admit(["fl1"]), faultOf("kernel-missing"));
    await policy.ensure(start);
    await assert.rejects(policy.change({ add: changes("other", "10.4.1.9") }), faultOf("kernel-missing"));
    await assert.rejects(policy.change({ add: changes("b6", "2001:db8::1") }), faultOf("kernel-missing"));
    await assert.rejects(policy.change({ add: changes("m4", "10.4.1.9", "2001:db8::1") }), faultOf("kernel-refused"));
    await assert.rejects(policy.change({ add: changes("m4", "10.4.1.9 tcp 80") }), faultOf("kernel-refused"));
    assert.equal(await policy.ensure(start), false);
  });
}

/** Registers the tests of a table that is not there, or not as it was left. */
export function testPolicyTable(make: MakeKernel): void {
  void test("a table is prepared where there is none, and left alone where there is one", async (t) => {
    const { policy } = (await make(t)).kernel;
    assert.equal(await policy.prepare(), true);
    assert.equal(await policy.prepare(), false);
    assert.equal(await policy.ensure(emptyRuleset), false, "it judges nobody");
    await policy.ensure(start);
    assert.equal(await policy.prepare(), false);
    assert.equal(await policy.ensure(start), false, "what is there stays");
  });

  void test("prune removes the table, twice if asked", async (t) => {
    const { policy } = (await make(t)).kernel;
    await policy.prune();
    await policy.ensure(start);
    await policy.prune();
    await policy.prune();
    await assert.rejects(policy.admit(["fl1"]), faultOf("kernel-missing"));
    assert.equal(await policy.ensure(start), true);
  });

  void test("what somebody else does to the policy table is seen and undone", async (t) => {
    const { kernel, damagePolicy } = await make(t);
    for (const damage of ["rules flushed", "table deleted"] as const) {
      await kernel.policy.ensure(start);
      damagePolicy(damage);
      assert.equal(await kernel.policy.ensure(start), true, damage);
      assert.equal(await kernel.policy.ensure(start), false, damage);
    }
  });

  void test("every counter says what it has counted, and none does where there is no table", async (t) => {
    const { policy } = (await make(t)).kernel;
    assert.deepEqual(await policy.counted(), new Map());
    await policy.ensure(start);
    const names = [...baseCounters, "one.deny", "two.deny", "in.deny"];
    const counted = await policy.counted();
    assert.deepEqual([...counted.keys()].toSorted(), names.toSorted());
    assert.ok([...counted.values()].every((packets) => packets === 0));
    await policy.ensure(emptyRuleset);
    await policy.counted(); // of those that went, too
    assert.deepEqual([...(await policy.counted()).keys()].toSorted(), [...baseCounters].toSorted());
  });

  void test("lookups of layers count, and are told once more when their layer goes", async (t) => {
    const { policy } = (await make(t)).kernel;
    await policy.ensure(start);
    const zero = {
      one: { ports: [0], peerLists: [[0]], rest: [] },
      two: { ports: [], peerLists: [], rest: [0] },
      in: { ports: [], peerLists: [], rest: [0] },
    };
    const told = async (): Promise<unknown> => Object.fromEntries(await policy.lookups([...parts.layers, another]));
    assert.deepEqual(await told(), zero);
    assert.deepEqual(policy.goneLookups(), new Map());
    await policy.ensure(ruleset({ classes: { 101: { egress: ["another"] } }, layers: [another] }));
    assert.deepEqual(await told(), { another: { ports: [], peerLists: [], rest: [0] } });
    assert.deepEqual(Object.fromEntries(policy.goneLookups()), zero);
    assert.deepEqual(policy.goneLookups(), new Map());
  });

  void test("policy, guard and masquerade are tables of their own", async (t) => {
    const { guard, masquerade, policy } = (await make(t)).kernel;
    const plan = { from: [], keep: [], ports: [], randomFully: true };
    await guard.ensure([]);
    await masquerade.ensure(plan);
    await policy.ensure(start);
    assert.equal(await guard.ensure([]), false);
    assert.equal(await masquerade.ensure(plan), false);
    await guard.prune();
    await masquerade.prune();
    assert.equal(await policy.ensure(start), false);
  });

  void test("calls on policy take effect in the order in which they were made", async (t) => {
    const { policy } = (await make(t)).kernel;
    const outcomes = await Promise.all([
      policy.ensure(start),
      policy.change({ remove: changes("m4", "10.4.1.3") }),
      policy.ensure(start),
      policy.prune(),
      policy.ensure(start),
      policy.ensure(start, "as left"),
    ]);
    assert.deepEqual(outcomes, [true, undefined, true, undefined, true, false]);
  });

  void test("a ruleset beyond its limits, or that cannot be said, is refused and changes nothing", async (t) => {
    const { policy } = (await make(t)).kernel;
    await policy.ensure(start);
    const count = (length: number): number[] => Array.from({ length }, (_, index) => index);
    const wrong: Record<string, PolicyRuleset> = {
      "a class outside": ruleset({ ...parts, classes: { 100: { egress: ["one"] } } }),
      "a class that no group can be": ruleset({ ...parts, classes: { 65_536: { egress: ["one"] } } }),
      "a class of a layer that is not there": ruleset({ ...parts, classes: { 101: { egress: ["none"] } } }),
      "a peer in a set that is not there": ruleset({ ...parts, memberSets: [] }),
      "a set of the other family": ruleset({ ...parts, memberSets: [members("m4", 6)] }),
      "a port twice": ruleset({
        ...parts,
        layers: [
          layer("one", { ports: [tcp, tcp].map((protocol) => ({ protocol, port: 1, peers: "any" })) }),
          two,
          into,
        ],
      }),
      "a name that is none": ruleset({ ...parts, layers: [...parts.layers, layer("a.b", {})] }),
      "a name of ours": ruleset({ ...parts, layers: [...parts.layers, layer("deny", {})] }),
      "two sets of one name": ruleset({ ...parts, memberSets: [...parts.memberSets, members("b6", 6)] }),
      "too many links": ruleset({ ...parts, links: count(policyLimits.links + 1).map((index) => `fl${index}`) }),
      "too many classes": ruleset({
        classes: Object.fromEntries(count(policyLimits.classes + 1).map((index) => [101 + index, {}])),
      }),
    };
    for (const [name, ofThem] of Object.entries(wrong)) {
      await assert.rejects(policy.ensure(ofThem), faultOf("bug"), name);
    }
    assert.equal(await policy.ensure(start), false);
  });
}

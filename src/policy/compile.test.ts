// What a node's pods become: sets of members, classes, layers that are shared; and what is not made again when something changes.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isFault } from "../base/fault.ts";
import { block, db, layerOf, rule, tcp, web } from "../../test/policy/compile-rules.ts";
import { ip, key } from "../../test/policy/compile-world.ts";
import { compileLayer } from "./compile-layer.ts";
import { type CompileInput, createCompiler } from "./compile.ts";
import type { Layer, Memberships, Peer, PortMatch } from "./model.ts";
import type { PolicyRuleset } from "./ruleset.ts";

/** Of pods with these layers for ingress, in classes from 101 on. */
function input(layers: readonly (readonly Layer[])[], memberships: Memberships = new Map()): CompileInput {
  return {
    subjects: layers.map((ingress, index) => ({ subject: { egress: [], ingress }, classNumber: 101 + index })),
    memberships,
    links: new Set(["fl1"]),
    groupsJudgeOwnNode: false,
  };
}

function rulesetOf(layers: readonly (readonly Layer[])[], memberships?: Memberships): PolicyRuleset {
  return createCompiler().compile(input(layers, memberships));
}

void describe("members", () => {
  const ports = [
    { name: "http", protocol: 6, port: 8080 },
    { name: "http", protocol: 17, port: 8081 },
    { name: "dns", protocol: 6, port: 53 },
  ];
  const memberships = new Map([
    [
      key("a"),
      [
        [
          { address: ip("10.0.0.1"), ports },
          { address: ip("fd00::1"), ports },
          { address: ip("10.0.0.1"), ports: [] },
          { address: ip("10.0.0.2"), ports: [] },
        ],
      ],
    ],
  ]);

  void test("stand in the set of their family, each address once", () => {
    const { memberSets } = rulesetOf([[layerOf([rule([tcp(80)], web)])]], memberships);
    assert.deepEqual(
      [...memberSets.values()].map(({ family, parts }) => [family, parts.flat().map(({ address }) => address)]),
      [
        [4, ["10.0.0.1", "10.0.0.2"]],
        [6, ["fd00::1"]],
      ],
    );
  });

  void test("that nobody has told of are none", () => {
    const { memberSets } = rulesetOf([[layerOf([rule([tcp(80)], db)])]], memberships);
    assert.deepEqual(
      [...memberSets.values()].map(({ parts }) => parts),
      [[], []],
    );
  });

  void test("are asked for a port by its name, of its protocol; blocks and everybody have given none", () => {
    const named = { protocol: 6, peerPort: "http" };
    const layer = layerOf([rule([named], web, block("10.0.0.0/8")), rule([named])], { direction: "egress" });
    const { memberSets, layers, blockSets } = createCompiler().compile({
      subjects: [{ subject: { egress: [layer], ingress: [] }, classNumber: 101 }],
      memberships,
      links: new Set(),
      groupsJudgeOwnNode: false,
    });
    const [set4, set6] = [...memberSets.values()];
    assert.deepEqual(set4?.parts, [[{ address: "10.0.0.1", protocol: 6, port: 8080 }]]);
    assert.deepEqual(set6?.parts, [[{ address: "fd00::1", protocol: 6, port: 8080 }]]);
    assert.deepEqual([set4.portName, set4.protocol, set4.membership], ["http", 6, key("a")]);
    assert.equal(blockSets.size, 0);
    assert.deepEqual(
      [...layers.values()].flatMap(({ rest }) => rest),
      [
        { protocol: 6, peer: { family: 4, set: set4.name, withPort: true } },
        { protocol: 6, peer: { family: 6, set: set6?.name, withPort: true } },
      ],
    );
  });

  void test("of one membership have a set for each name and protocol", () => {
    const named = [
      { protocol: 6, peerPort: "http" },
      { protocol: 17, peerPort: "http" },
      { protocol: 6, peerPort: "dns" },
    ];
    const { memberSets } = rulesetOf([[layerOf([rule(named, web), rule([tcp(80)], web)])]], memberships);
    assert.equal(memberSets.size, 8);
  });
});

void describe("classes and layers", () => {
  const allowing = layerOf([rule([tcp(80)], web)]);

  void test("a layer is one for all who share its objects; other objects, how it ends, and its direction, make another", () => {
    const same = { ...allowing, rules: allowing.rules.map((one) => ({ ...one })) };
    const [other, audit] = [
      { ...allowing, id: "b", objects: ["other"] },
      { ...allowing, otherwise: "audit" as const },
    ];
    const { classes, layers } = rulesetOf([[allowing], [same], [other], [audit]]);
    assert.equal(layers.size, 3);
    assert.deepEqual(classes.get(101), classes.get(102));
    assert.notDeepEqual(classes.get(101), classes.get(103), "each counts what it denies by itself");
    assert.notDeepEqual(classes.get(101), classes.get(104));
    const egress = compileLayer({ ...allowing, direction: "egress" }).chains.name;
    assert.notEqual(egress, compileLayer(allowing).chains.name);
  });

  void test("a class keeps the order of its layers, and a pod without any has a class, too", () => {
    const first = layerOf([rule([tcp(80)])], { kind: "networkPolicy", id: "z" });
    const second = layerOf([rule([tcp(81)])], { id: "y" });
    const { factsOf, compile } = createCompiler();
    const { classes } = compile({
      subjects: [
        { subject: { egress: [], ingress: [first, second] }, classNumber: 105 },
        { subject: { egress: [], ingress: [] }, classNumber: 100 },
      ],
      memberships: new Map(),
      links: new Set(),
      groupsJudgeOwnNode: false,
    });
    assert.deepEqual(classes.get(105)?.ingress, [factsOf(first).name, factsOf(second).name]);
    assert.deepEqual(classes.get(100), { egress: [], ingress: [], toNode: [] });
  });

  void test("the own node is judged by egress groups alone, where it is judged", () => {
    const policy = layerOf([], { kind: "networkPolicy", direction: "egress", id: "p" });
    const group = layerOf([rule([tcp(443)])], { direction: "egress", id: "g" });
    const { compile, factsOf } = createCompiler();
    const toNode = (groupsJudgeOwnNode: boolean): readonly string[] | undefined =>
      compile({
        subjects: [{ subject: { egress: [policy, group], ingress: [allowing] }, classNumber: 101 }],
        memberships: new Map(),
        links: new Set(),
        groupsJudgeOwnNode,
      }).classes.get(101)?.toNode;
    assert.deepEqual(toNode(false), []);
    assert.deepEqual(toNode(true), [factsOf(group).name]);
  });

  void test("pods of one class with other layers are a bug", () => {
    const compile = (): unknown =>
      createCompiler().compile({
        subjects: [
          { subject: { egress: [], ingress: [allowing] }, classNumber: 101 },
          { subject: { egress: [], ingress: [] }, classNumber: 101 },
        ],
        memberships: new Map(),
        links: new Set(),
        groupsJudgeOwnNode: false,
      });
    assert.throws(compile, (error) => isFault(error, "bug"));
  });

  void test("a layer that is too large allows less, and says so", () => {
    const rules = [1, 2, 3, 4].map((port) => rule([tcp(port)], web, { members: key(`${port}`) }));
    const whole = compileLayer(layerOf([...rules, rule([{ protocol: 47 }])]));
    assert.deepEqual([whole.leftOut, whole.chains.ports.length, whole.chains.rest.length], [0, 4, 1]);
    const cut = compileLayer(layerOf([...rules, rule([{ protocol: 47 }])]), 10);
    assert.deepEqual([cut.leftOut, cut.chains.ports.length, cut.chains.rest.length], [3, 2, 0]);
    assert.deepEqual(
      cut.memberSets.map(({ name }) => name.slice(0, 4)),
      ["m4_1", "m4_a", "m6_1", "m6_a", "m4_2", "m6_2"],
    );
    const { factsOf } = createCompiler();
    assert.equal(factsOf(layerOf(rules)).leftOut, 0);
  });
});

void describe("a ruleset that would be too large", () => {
  const small = layerOf([rule([tcp(80)], web)], { id: "small" });
  const large = layerOf([rule([tcp(81)], web, db), rule([tcp(82, 83)], db), rule([{ protocol: 47 }])], { id: "large" });
  const told = new Map([[key("b"), [[1, 2, 3].map((host) => ({ address: ip(`10.0.0.${host}`), ports: [] }))]]]);
  const room = { ports: 4, rules: 3 + 8 + 1, addresses: 3 };

  void test("has all that there is room for", () => {
    const { compile, factsOf } = createCompiler(room);
    const { layers } = compile(input([[large], [small]], told));
    assert.deepEqual([factsOf(small).leftOut, factsOf(large).leftOut, layers.size], [0, 0, 2]);
    assert.equal(layers.get(factsOf(large).name)?.ports.length, 3);
  });

  for (const what of ["ports", "rules", "addresses"] as const) {
    void test(`is without the largest layer, which denies, where there are too many ${what}; and has it again`, () => {
      const { compile, factsOf } = createCompiler({ ...room, [what]: room[what] - 1 });
      const { layers, memberSets, classes } = compile(input([[large], [small]], told));
      assert.deepEqual([factsOf(small).leftOut, factsOf(large).leftOut], [0, 4]);
      assert.deepEqual(classes.get(101)?.ingress, [factsOf(large).name]);
      const { ports, rest, otherwise } = layers.get(factsOf(large).name) ?? assert.fail("the layer is there");
      assert.deepEqual([ports, rest, otherwise], [[], [], "deny"]);
      assert.deepEqual(
        [...memberSets.values()].map(({ membership }) => membership),
        [key("a"), key("a")],
      );
      assert.equal(layers.get(factsOf(small).name)?.ports.length, 1);
      if (what === "addresses") return;
      const alone = compile(input([[large]], told));
      assert.deepEqual([factsOf(large).leftOut, alone.layers.get(factsOf(large).name)?.ports.length], [0, 3]);
    });
  }
});

void describe("what is made again", () => {
  const a = layerOf([rule([tcp(80)], web)], { id: "a" });
  const b = layerOf([rule([tcp(81)], db, block("10.0.0.0/8", "10.1.0.0/16"))], { id: "b" });
  const listA = [{ address: ip("10.0.0.1"), ports: [] }];
  const listB = [{ address: ip("10.0.0.2"), ports: [] }];
  const before = new Map([
    [key("a"), [listA]],
    [key("b"), [listB]],
  ]);

  void test("one membership's set, where it has another part", () => {
    const { compile } = createCompiler();
    const old = compile(input([[a], [b]], before));
    const now = compile(input([[a], [b]], new Map([...before, [key("b"), [listB, listA]]])));
    const same = (name: string): boolean => now.memberSets.get(name) === old.memberSets.get(name);
    assert.deepEqual([same(`m4_${key("a")}`), same(`m4_${key("b")}`)], [true, false]);
    const part = (of: PolicyRuleset) => of.memberSets.get(`m4_${key("b")}`)?.parts[0];
    assert.equal(part(now), part(old), "the part that is as before");
    for (const [name, chains] of now.layers) assert.equal(chains, old.layers.get(name));
  });

  void test("one layer, where it says something else under its id; others stay though all objects were read anew", () => {
    const { compile } = createCompiler();
    const old = compile(input([[a], [b]], before));
    const edited = { ...structuredClone(a), rules: [rule([tcp(82)], web)] };
    const now = compile(input([[edited], [structuredClone(b)]], before));
    const name = (ruleset: PolicyRuleset, number: number): string => ruleset.classes.get(number)?.ingress[0] ?? "";
    assert.notEqual(name(now, 101), name(old, 101));
    assert.deepEqual(now.layers.get(name(now, 101))?.ports, [{ protocol: 6, port: 82, peers: 0 }]);
    assert.equal(now.layers.get(name(now, 102)), old.layers.get(name(old, 102)));
    assert.deepEqual([...now.layers.keys()].toSorted(), [name(now, 101), name(now, 102)].toSorted());
  });

  void test("every part of a layer counts", () => {
    const full = layerOf(
      [
        rule(
          [tcp(80, 90), { protocol: 1, type: 8, code: 0 }, { protocol: 6, peerPort: "http" }],
          db,
          block("10.0.0.0/8", "10.1.0.0/16"),
        ),
      ],
      { direction: "egress" },
    );
    const [one = rule([])] = full.rules;
    const withPorts = (...ports: PortMatch[]): Layer => ({ ...full, rules: [{ ...one, ports }] });
    const withPeers = (...peers: Peer[]): Layer => ({ ...full, rules: [{ ...one, peers }] });
    const [range = tcp(0), message = tcp(0), named = tcp(0)] = one.ports;
    const edits: Layer[] = [
      { ...full, otherwise: "audit" },
      { ...full, rules: [...full.rules, rule([tcp(1)])] },
      withPorts(tcp(80, 91), message, named),
      withPorts(tcp(81, 90), message, named),
      withPorts({ protocol: 17, first: 80, last: 90 }, message, named),
      withPorts(range, { protocol: 1, type: 9, code: 0 }, named),
      withPorts(range, { protocol: 1, type: 8, code: 1 }, named),
      withPorts(range, { protocol: 1, type: 8 }, named),
      withPorts(range, message, { protocol: 6, peerPort: "dns" }),
      withPorts(range, message),
      withPeers(web, block("10.0.0.0/8", "10.1.0.0/16")),
      withPeers(db, block("10.0.0.0/9", "10.1.0.0/16")),
      withPeers(db, block("10.0.0.0/8", "10.2.0.0/16")),
      withPeers(db, block("10.0.0.0/8")),
      withPeers(db, db),
      withPeers(db),
    ];
    for (const edited of edits) {
      const { compile, factsOf } = createCompiler();
      const of = (layer: Layer): string => {
        compile({ ...input([], before), subjects: [{ subject: { egress: [layer], ingress: [] }, classNumber: 101 }] });
        return factsOf(layer).name;
      };
      assert.notEqual(of(full), of(edited), JSON.stringify(edited.rules));
      assert.equal(of(edited), createCompiler().factsOf(edited).name);
    }
  });
});

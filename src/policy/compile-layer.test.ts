// What the rules of one layer become, one case each: ports, ranges, messages; blocks and what is cut out of them.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { block, db, layerOf, rule, tcp, web } from "../../test/policy/compile-rules.ts";
import { lookupAllows } from "../../test/policy/compile-view.ts";
import { ip, key } from "../../test/policy/compile-world.ts";
import { compileLayer, expandedPortsMax } from "./compile-layer.ts";
import { createCompiler } from "./compile.ts";
import type { Peer, Rule } from "./model.ts";

const member4 = (digit: string): object => ({ family: 4, set: `m4_${key(digit)}` });
const member6 = (digit: string): object => ({ family: 6, set: `m6_${key(digit)}` });
/** Both families of a membership, in the order of lists. */
const members = (...digits: string[]): object[] => [...digits.map(member4), ...digits.map(member6)];

void describe("ports", () => {
  const cases: [string, Rule[], object][] = [
    [
      "equal peers share a list",
      [rule([tcp(80), tcp(443)], web), rule([{ protocol: 17, first: 53, last: 53 }], web)],
      {
        ports: [
          { protocol: 6, port: 80, peers: 0 },
          { protocol: 6, port: 443, peers: 0 },
          { protocol: 17, port: 53, peers: 0 },
        ],
        peerLists: [members("a")],
        rest: [],
      },
    ],
    [
      "a port in two rules has the peers of both",
      [rule([tcp(80)], web), rule([tcp(79, 80)], db)],
      {
        ports: [
          { protocol: 6, port: 79, peers: 0 },
          { protocol: 6, port: 80, peers: 1 },
        ],
        peerLists: [members("b"), members("a", "b")],
        rest: [],
      },
    ],
    [
      "everybody beside somebody is everybody",
      [rule([tcp(80)], web), rule([tcp(80, 81)]), rule([tcp(81)], web)],
      {
        ports: [
          { protocol: 6, port: 80, peers: "any" },
          { protocol: 6, port: 81, peers: "any" },
        ],
        peerLists: [],
        rest: [],
      },
    ],
    [
      "a whole protocol, and messages with and without a code, stand in the rest",
      [
        rule([{ protocol: 17 }]),
        rule(
          [
            { protocol: 1, type: 8 },
            { protocol: 58, type: 1, code: 4 },
          ],
          web,
        ),
        rule([{ protocol: 47 }], web),
      ],
      {
        ports: [],
        peerLists: [],
        rest: [
          ...members("a").map((peer) => ({ protocol: 1, icmp: { type: 8 }, peer })),
          { protocol: 17 },
          ...members("a").map((peer) => ({ protocol: 47, peer })),
          ...members("a").map((peer) => ({ protocol: 58, icmp: { type: 1, code: 4 }, peer })),
        ],
      },
    ],
    ["no ports and no peers is everything", [rule([]), rule([tcp(80)], web)], { ports: [], peerLists: [], rest: [{}] }],
    ["no rule is nothing", [], { ports: [], peerLists: [], rest: [] }],
  ];
  for (const [name, rules, expected] of cases) {
    void test(name, () => {
      const { ports, peerLists, rest } = compileLayer(layerOf(rules)).chains;
      assert.deepEqual({ ports, peerLists, rest }, expected);
    });
  }

  void test("a short range becomes its ports, one port more stays a range", () => {
    const short = compileLayer(layerOf([rule([tcp(1000, 999 + expandedPortsMax)])])).chains;
    assert.deepEqual([short.ports.length, short.rest.length], [expandedPortsMax, 0]);
    const long = compileLayer(layerOf([rule([tcp(1000, 1000 + expandedPortsMax)])])).chains;
    assert.deepEqual(long.ports, []);
    assert.deepEqual(long.rest, [{ protocol: 6, ports: { first: 1000, last: 1000 + expandedPortsMax } }]);
  });

  void test("a port whose peers do not match is asked for in ranges and whole protocols, too", () => {
    const layer = layerOf([rule([tcp(80)], web), rule([tcp(1, 1000)], block("192.0.2.0/24"))]);
    const { compile, factsOf } = createCompiler();
    const ruleset = compile({
      subjects: [{ subject: { egress: [], ingress: [layer] }, classNumber: 101 }],
      memberships: new Map(),
      links: new Set(),
      groupsJudgeOwnNode: false,
    });
    const { name } = factsOf(layer);
    const from = (source: string): boolean =>
      lookupAllows(ruleset, name, {
        source: ip(source),
        destination: ip("10.0.0.1"),
        protocol: 6,
        destinationPort: 80,
      });
    assert.deepEqual([from("192.0.2.1"), from("192.0.3.1")], [true, false]);
  });
});

void describe("blocks", () => {
  const cases: [string, Peer[], readonly string[] | "any"][] = [
    [
      "that touch and overlap are merged",
      [block("10.0.0.0/25"), block("10.0.0.128/25"), block("10.0.0.0/26")],
      ["10.0.0.0/24"],
    ],
    ["lose their exceptions", [block("10.0.0.0/24", "10.0.0.128/25", "10.0.0.64/26")], ["10.0.0.0/26"]],
    [
      "of another peer may allow what one excepts",
      [block("10.0.0.0/24", "10.0.0.0/25"), block("10.0.0.0/26")],
      ["10.0.0.0/26", "10.0.0.128/25"],
    ],
    ["that are all exception are nothing", [block("10.0.0.0/24", "10.0.0.0/24")], []],
    ["within an exception are nothing", [block("10.0.0.0/24", "10.0.0.0/8")], []],
    [
      "keep what an exception elsewhere, or of the other family, does not touch",
      [block("10.0.0.0/24", "10.0.1.0/24", "::/0")],
      ["10.0.0.0/24"],
    ],
    ["can be a whole family", [block("0.0.0.0/0")], ["0.0.0.0/0"]],
    ["can be a whole family with a hole", [block("::/0", "8000::/1")], ["::/1"]],
    ["can be two halves of a family", [block("0.0.0.0/1"), block("128.0.0.0/1")], ["0.0.0.0/0"]],
    ["that are both families are everybody", [block("0.0.0.0/0"), block("::/0"), web], "any"],
    [
      "that are both families but a hole are not",
      [block("0.0.0.0/0", "10.0.0.1/32"), block("::/1"), block("8000::/1")],
      [...holeIn32(), "::/0"],
    ],
  ];
  for (const [name, peers, expected] of cases) {
    void test(name, () => {
      const { chains, blockSets } = compileLayer(layerOf([rule([tcp(80)], ...peers)]));
      if (expected === "any") assert.equal(chains.ports[0]?.peers, "any");
      else
        assert.deepEqual(
          blockSets.flatMap(({ blocks }) => blocks),
          expected,
        );
      if (expected.length === 0) assert.deepEqual([chains.ports, chains.rest], [[], []]);
    });
  }

  /** 0.0.0.0/0 but 10.0.0.1. */
  function holeIn32(): string[] {
    const { blockSets } = compileLayer(layerOf([rule([], block("0.0.0.0/0", "10.0.0.1/32"))]));
    const blocks = blockSets.flatMap((set) => set.blocks);
    assert.equal(blocks.length, 32);
    return blocks;
  }

  void test("both families without a port are everything", () => {
    const { chains } = compileLayer(layerOf([rule([], block("0.0.0.0/0"), block("::/0")), rule([tcp(1)], web)]));
    assert.deepEqual([chains.ports, chains.rest], [[], [{}]]);
  });

  void test("of a whole family leave its members unasked", () => {
    const { chains, memberSets } = compileLayer(layerOf([rule([tcp(80)], block("0.0.0.0/0"), web)]));
    assert.deepEqual(chains.peerLists[0]?.slice(1), [member6("a")]);
    assert.deepEqual(
      memberSets.map(({ name }) => name),
      [`m6_${key("a")}`],
    );
  });
});

// The deepest and the widest policy by real packets: what the last rule of the last chain allows passes, what only that denies does not, on the way to another policy too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { blocks, layer, members, type RulesetParts, ruleset, tcp, udp } from "../../../test/policy-rulesets.ts";
import { at, makePolicyStage } from "../../../test/policy-stage.ts";
import { addressAt, parseCidr } from "../../net/cidr.ts";
import { present } from "../../base/assert.ts";
import type { Direction } from "../../policy/model.ts";
import type { LayerChains, PolicyRuleset } from "../../policy/ruleset.ts";
import { policyLimits } from "../contract.ts";

const [allowed, denied] = [8080, 9090];

/** Both ports lead through a list in which nobody is to the rules behind it; the last of these lets those ports pass from and to pods. */
function deep(
  name: string,
  direction: Direction,
  ports: readonly number[],
  otherwise: "deny" | "audit" = "deny",
): LayerChains {
  const families = [4, 6] as const;
  return layer(name, {
    direction,
    otherwise,
    ports: [allowed, denied].map((port) => ({ protocol: tcp, port, peers: 0 })),
    peerLists: [families.map((family) => ({ family, set: `nobody${family}` }))],
    rest: [
      { protocol: udp, ports: { first: 1, last: 9 } },
      ...ports.flatMap((port) =>
        families.map((family) => ({
          protocol: tcp,
          ports: { first: port, last: port + 1 },
          peer: { family, set: `pods${family}` } as const,
        })),
      ),
    ],
  });
}

const sets: RulesetParts = {
  memberSets: [members("nobody4", 4, "192.0.2.1"), members("nobody6", 6, "2001:db8::1")],
  blockSets: [blocks("pods4", "10.4.1.0/24"), blocks("pods6", "fd00:10:4:1::/64")],
};

/** Two layers in each direction, as many as there can be; `narrow` is the one of the four that denies what is denied. */
function deepest(narrow: number, n: number): PolicyRuleset {
  const of = (index: number): readonly number[] => (index === narrow ? [allowed] : [allowed, denied]);
  const layers = [0, 1, 2, 3].map((index) =>
    deep(`l${index}_${n}_${narrow}`, index < 2 ? "egress" : "ingress", of(index)),
  );
  const [e1 = "", e2 = "", i1 = "", i2 = ""] = layers.map(({ name }) => name);
  const classes = { 101: { egress: [e1, e2], toNode: [e1, e2] }, 102: { ingress: [i1, i2] } };
  return ruleset({ ...sets, layers, classes });
}

void test("the deepest path is walked to its end, whichever of four layers denies, and from one policy to the next", async (t) => {
  const { policy, setClass, expect } = await makePolicyStage(t);
  await policy.ensure(deepest(0, 0));
  setClass("one", 101);
  setClass("two", 102);
  for (const [n, narrow] of [0, 3, 1, 2, 0].entries()) {
    assert.equal(await policy.ensure(deepest(narrow, n + 1), "as left"), true);
    await expect({
      [`one tcp two ${allowed}`]: "passes",
      [`one tcp two ${denied}`]: "denied",
      "one udp two 5432": "denied",
      "three tcp two 5432": "denied",
      "one ping node": "denied",
      [`three tcp two ${denied}`]: narrow < 2 ? "passes" : "denied",
    });
  }
});

/** Numbers of classes, ports of a layer and members of a set as a large node has them; all limits at once: policy-size.kernel.test.ts. */
const wide = { ports: 4_000, members: 20_000 };

void test(
  "with every class number in use, thousands of ports and members, the last of each counts as the first does",
  { timeout: 110_000 },
  async (t) => {
    const { policy, setClass, expect, counted } = await makePolicyStage(t);
    const range = present(parseCidr("fd00:99::/64"), "a range");
    const many = Array.from({ length: wide.members - 1 }, (_, index) => ({
      address: addressAt(range, BigInt(index + 1)),
    }));
    const ports = Array.from({ length: wide.ports }, (_, index) => 10_000 + index).filter((port) => port !== denied);
    const inMany = members("many6", 6, at.one[6]);
    const through = layer("wide_in", {
      direction: "ingress",
      ports: [...ports, allowed].map((port) => ({ protocol: tcp, port, peers: 0 })),
      peerLists: [[{ family: 6, set: "many6" }]],
    });
    const shut = layer("shut_in", { direction: "ingress" });
    const last = 100 + policyLimits.classes;
    const classes = Object.fromEntries(
      Array.from({ length: policyLimits.classes }, (_, index) => [
        101 + index,
        { ingress: [101 + index === last ? "wide_in" : "shut_in"] },
      ]),
    );
    await policy.ensure(
      ruleset({
        classes,
        layers: [through, shut],
        memberSets: [{ ...inMany, parts: [many, ...inMany.parts] }],
      }),
    );
    setClass("two", last);
    setClass("three", last - 1);
    await expect({
      [`one tcp two ${allowed} 6`]: "passes",
      [`one tcp two ${allowed} 4`]: "denied",
      [`one tcp two ${denied}`]: "denied",
      [`outside tcp two ${allowed} 6`]: "denied",
      [`one tcp three ${allowed}`]: "denied",
    });
    // One number more than there are: nobody knows it.
    setClass("two", last + 1);
    const before = counted("unknown_class");
    await expect({ [`one tcp two ${allowed} 6`]: "denied", "outside udp two 5432": "denied" });
    assert.ok(counted("unknown_class") > before);
  },
);

// The widest and the deepest policy that a ruleset can say, in a real kernel: it loads, changes, and is read back.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { makeNetns } from "../../../test/netns.ts";
import { openNftCall } from "../../../test/nft-call.ts";
import { blocks, layer, members, ruleset, tcp } from "../../../test/policy-rulesets.ts";
import { addressAt, parseCidr } from "../../net/cidr.ts";
import { present } from "../../base/assert.ts";
import type { LayerChains, MemberSet, PolicyRuleset } from "../../policy/ruleset.ts";
import { type PolicyTable, policyLimits } from "../contract.ts";
import { createSequence } from "../netlink/message.ts";
import { type Channel, createChannel } from "./channel.ts";
import { flushRules } from "./messages.ts";
import { policyTableName } from "./policy-base.ts";
import { createPolicyTable } from "./policy.ts";

function open(t: TestContext): { policy: PolicyTable; channel: Channel } {
  const call = openNftCall(t, makeNetns(t), 60_000);
  return {
    policy: createPolicyTable({ call, nextSequence: createSequence() }),
    channel: createChannel({ call, nextSequence: createSequence() }),
  };
}

const range = present(parseCidr("fd00:10::/64"), "a range");

function bigSet(name: string, count: number): MemberSet {
  const elements = Array.from({ length: count }, (_, index) => ({ address: addressAt(range, BigInt(index + 1)) }));
  return { ...members(name, 6), parts: [elements] };
}

/** As many parts as a layer can have between its first chain and the end: every packet may have to walk all of them. */
const deep = (name: string, direction: "egress" | "ingress"): LayerChains =>
  layer(name, {
    direction,
    ports: [{ protocol: tcp, port: 80, peers: 0 }],
    peerLists: [[{ family: 4, set: "m4" }]],
    rest: [{ protocol: tcp, ports: { first: 1, last: 9 }, peer: { family: 4, set: "b4" } }],
  });

function deepest(n: number): PolicyRuleset {
  const egress = [deep(`e1_${n}`, "egress"), deep(`e2_${n}`, "egress")];
  const ingress = [deep(`i1_${n}`, "ingress"), { ...deep(`i2_${n}`, "ingress"), otherwise: "audit" as const }];
  const names = (layers: readonly LayerChains[]): string[] => layers.map(({ name }) => name);
  return ruleset({
    classes: { 101: { egress: names(egress), ingress: names(ingress), toNode: names(egress) } },
    layers: [...egress, ...ingress],
    memberSets: [members("m4", 4, "10.0.0.1")],
    blockSets: [blocks("b4", "10.0.0.0/8")],
  });
}

void test("the deepest path loads, and so does what judges by an old and a new one", async (t) => {
  const { policy } = open(t);
  assert.equal(await policy.ensure(deepest(1)), true);
  // Both directions change: between the two, a packet may walk the chains of both.
  assert.equal(await policy.ensure(deepest(2)), true);
  assert.equal(await policy.ensure(deepest(1), "as left"), true);
  assert.equal(await policy.ensure(deepest(1)), false);
});

/** Up to every limit at once. */
function widest(): PolicyRuleset {
  const perLayer = 300;
  const layerCount = policyLimits.ports / perLayer;
  // Three tests in each of so many lists, which count themselves; the rest are rules of the first layer.
  const layers = Array.from({ length: layerCount }, (_, index) =>
    layer(`${"x".repeat(61)}${String(index).padStart(3, "0")}`, {
      direction: index % 2 === 0 ? "egress" : "ingress",
      ports: Array.from({ length: perLayer }, (_port, at) => ({ protocol: tcp, port: 1 + at, peers: at % 8 })),
      peerLists: Array.from({ length: 8 }, () => [1, 2, 3, 4].map(() => ({ family: 6, set: "m6" }) as const)),
    }),
  );
  const [egress, ingress] = [0, 1].map((odd) => layers.filter((_, index) => index % 2 === odd).map(({ name }) => name));
  const half = layerCount / 2;
  return ruleset({
    classes: Object.fromEntries(
      Array.from({ length: policyLimits.classes }, (_, index) => [
        101 + index,
        {
          egress: [egress?.[index % half] ?? "", egress?.[(index + 1) % half] ?? ""],
          ingress: [ingress?.[index % half] ?? ""],
        },
      ]),
    ),
    layers,
    memberSets: [bigSet("m6", policyLimits.addresses)],
    links: Array.from({ length: policyLimits.links }, (_, index) => `fl${index}`),
  });
}

void test(
  "what reaches every limit loads at once, is read back, and is repaired at once",
  { timeout: 110_000 },
  async (t) => {
    const { policy, channel } = open(t);
    const wide = widest();
    assert.equal(await policy.ensure(wide), true);
    await channel.commit("damage the table", [flushRules(policyTableName, "from_pod")]); // nft itself would read all of it for a minute
    assert.equal(await policy.ensure(wide), true, "read back, and made anew");
    assert.equal(await policy.ensure(wide), false);
  },
);

// Policy with real packets: who reaches whom, by IPv4 and IPv6, TCP, UDP and ICMP.

import { test } from "node:test";
import { makePolicyStage } from "../../../test/policy-stage.ts";
import { blocks, emptyRuleset, layer, members, ruleset, tcp } from "../../../test/policy-rulesets.ts";
import type { LayerChains, PolicyRuleset } from "../../policy/ruleset.ts";

/** Peers of both families. */
const peers = (name: string) => [{ family: 4, set: `${name}4` } as const, { family: 6, set: `${name}6` } as const];

const memberSets = [
  members("one4", 4, "10.4.1.2"),
  members("one6", 6, "fd00:10:4:1::2"),
  members("two4", 4, "10.4.1.3"),
  members("two6", 6, "fd00:10:4:1::3"),
];
const blockSets = [blocks("out4", "172.30.0.0/29"), blocks("out6", "fd00:30::/125")];

/** Lets out to pod two by TCP and UDP 8080 and echo requests, and to the outside by UDP. */
const outOfOne: LayerChains = layer("np_out", {
  ports: [
    { protocol: 6, port: 8080, peers: 0 },
    { protocol: 17, port: 8080, peers: 0 },
  ],
  peerLists: [peers("two")],
  rest: [
    { protocol: 1, icmp: { type: 8 }, peer: { family: 4, set: "two4" } },
    { protocol: 58, icmp: { type: 128 }, peer: { family: 6, set: "two6" } },
    ...peers("out").map((peer) => ({ protocol: 17, peer })),
  ],
});

const oneWay: PolicyRuleset = ruleset({
  classes: { 101: { egress: ["np_out"] }, 102: { ingress: ["np_in"] } },
  layers: [
    outOfOne,
    layer("np_in", {
      direction: "ingress",
      rest: peers("one").map((peer) => ({ protocol: tcp, ports: { first: 8000, last: 8999 }, peer })),
    }),
  ],
  memberSets,
  blockSets,
});

void test("without classes everything passes; a class lets pass what its layer allows, in either direction", async (t) => {
  const { policy, setClass, expect } = await makePolicyStage(t);
  await policy.ensure(emptyRuleset);
  await expect({ "one tcp two 8080": "passes", "outside udp one 5432": "passes", "one ping outside": "passes" });
  await policy.ensure(oneWay);
  setClass("one", 101);
  await expect({
    "one tcp two 8080": "passes",
    "one udp two 8080": "passes",
    "one ping two": "passes",
    "one tcp two 5432": "denied",
    "one tcp three 8080": "denied",
    "one ping three": "denied",
    "one udp outside 9090": "passes",
    "one tcp outside 9090": "denied",
    "two tcp one 9090": "passes",
    "outside udp one 8080": "passes",
    "node tcp one 8080": "passes",
    "one tcp node 8080": "passes",
  });
  setClass("two", 102);
  await expect({
    "one tcp two 8080": "passes",
    "one udp two 8080": "denied",
    "one ping two": "denied",
    "three tcp two 8080": "denied",
    "outside tcp two 8080": "denied",
    "node tcp two 5432": "passes",
    "two udp three 5432": "passes",
  });
});

// Rules about one network, with real packets: such a network is no set, the rule compares it.

import { test } from "node:test";
import { blocks, layer, ruleset, tcp, udp } from "../../../test/policy-rulesets.ts";
import { makePolicyStage } from "../../../test/policy-stage.ts";

const peers = (name: string) => [{ family: 4, set: `${name}4` } as const, { family: 6, set: `${name}6` } as const];

/** Two networks and an address of each family; the names of each pair end in the family. */
const alone = {
  pair4: "10.4.1.2/31",
  pair6: "fd00:10:4:1::2/127",
  odd4: "10.4.1.4/30",
  odd6: "fd00:10:4:1::4/126",
  three4: "10.4.1.4/32",
  three6: "fd00:10:4:1::4/128",
};

void test("a network that is alone in its set counts to its last bit, and no further", async (t) => {
  const { expect, policy, setClass } = await makePolicyStage(t);
  const to = (protocol: number, port: number, name: string) =>
    peers(name).map((peer) => ({ protocol, ports: { first: port, last: port }, peer }));
  await policy.ensure(
    ruleset({
      classes: { 101: { egress: ["np_alone"] } },
      layers: [
        layer("np_alone", {
          ports: [{ protocol: tcp, port: 8080, peers: 0 }],
          peerLists: [peers("pair")],
          rest: [...to(tcp, 5432, "odd"), ...to(udp, 5432, "three")],
        }),
      ],
      blockSets: Object.entries(alone).map(([name, network]) => blocks(name, network)),
    }),
  );
  setClass("one", 101);
  await expect({
    "one tcp two 8080": "passes",
    "one tcp three 8080": "denied",
    "one tcp two 5432": "denied",
    "one tcp three 5432": "passes",
    "one udp two 5432": "denied",
    "one udp three 5432": "passes",
  });
});

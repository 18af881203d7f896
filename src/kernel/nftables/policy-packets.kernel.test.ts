// Policy with real packets: who reaches whom, by IPv4 and IPv6, TCP, UDP and ICMP.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Running, runIn } from "../../../test/masq-stage.ts";
import {
  blocks,
  emptyRuleset,
  layer,
  members,
  namedPortMembers,
  type RulesetParts,
  ruleset,
  tcp,
  udp,
} from "../../../test/policy-rulesets.ts";
import { at, makePolicyStage, narrowMtu, type PolicyStage } from "../../../test/policy-stage.ts";
import { until } from "../../../test/until.ts";
import { parseIp } from "../../net/ip.ts";
import { present } from "../../base/assert.ts";
import type { LayerChains, PolicyRuleset } from "../../policy/ruleset.ts";

/** Peers of both families. */
const peers = (name: string) => [{ family: 4, set: `${name}4` } as const, { family: 6, set: `${name}6` } as const];

const memberSets = [
  members("one4", 4, "10.4.1.2"),
  members("one6", 6, "fd00:10:4:1::2"),
  members("two4", 4, "10.4.1.3"),
  members("two6", 6, "fd00:10:4:1::3"),
];
const blockSets = [blocks("out4", "172.30.0.0/29", "198.51.100.0/30"), blocks("out6", "fd00:30::/125")];

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

const open = layer("open", { rest: [{}] });
const openIn = layer("open_in", { direction: "ingress", rest: [{}] });
const shut = layer("shut", {});
const shutIn = layer("shut_in", { direction: "ingress" });
const audited = layer("audited", { otherwise: "audit" });
const onlyTcp = layer("only_tcp", { rest: [{ protocol: tcp }] });
const only8080 = layer("only_8080", {
  ports: [tcp, udp].map((protocol) => ({ protocol, port: 8080, peers: "any" })),
});
const layers = [open, openIn, shut, shutIn, audited, onlyTcp, only8080];

function withClasses(classes: RulesetParts["classes"], links: readonly string[] = []): PolicyRuleset {
  return ruleset({ ...(classes === undefined ? {} : { classes }), layers, links });
}

/** Lets ports pass; its name tells of them, as the compiler's do. */
const onlyPort = (port: number): LayerChains =>
  layer(`only_${port}`, { ports: [{ protocol: tcp, port, peers: "any" }] });

void test("what is denied is counted once, whatever becomes of the counter; each layer counts its own", async (t) => {
  const { policy, setClass, expect } = await makePolicyStage(t);
  const byLayer = (out: LayerChains): PolicyRuleset =>
    ruleset({ classes: { 101: { egress: [out.name] }, 102: { egress: ["shut"] } }, layers: [out, shut] });
  await policy.ensure(byLayer(onlyPort(8080)));
  setClass("one", 101);
  setClass("two", 102);
  await policy.counted();
  await expect({ "one tcp three 5432": "denied", "one udp three 9090 4": "denied", "one tcp three 8080": "passes" });
  // A SYN by each family, and a datagram.
  const before = (await policy.counted()).get("only_8080.deny");
  assert.equal(before, 3);
  await expect({ "one udp three 9090": "denied", "two udp three 9090 6": "denied" });
  await policy.ensure(byLayer(onlyPort(5432)), "as left");
  await expect({ "one udp three 9090 4": "denied" });
  await policy.ensure(byLayer(onlyPort(8080)));
  const counted = await policy.counted();
  assert.deepEqual(
    ["only_8080.deny", "only_5432.deny", "shut.deny"].map((name) => counted.get(name)),
    [2, 1, 1],
    "those that went among them",
  );
  assert.ok(
    [...(await policy.counted()).values()].every((packets) => packets === 0),
    "each packet once",
  );
});

void test("every lookup counts the packets that begin connections by it, and only those", async (t) => {
  const { policy, setClass, expect } = await makePolicyStage(t);
  const out = layer("out", {
    ports: [
      { protocol: tcp, port: 8080, peers: 0 },
      { protocol: tcp, port: 5432, peers: 0 },
      { protocol: udp, port: 9090, peers: "any" },
    ],
    peerLists: [peers("two")],
    rest: [
      { protocol: 1, icmp: { type: 8 } },
      { protocol: udp, ports: { first: 5000, last: 6000 }, peer: { family: 6, set: "two6" } },
    ],
  });
  await policy.ensure(ruleset({ classes: { 101: { egress: ["out"] } }, layers: [out], memberSets }));
  setClass("one", 101);
  await expect({
    "one tcp two 8080": "passes",
    "one tcp two 5432 4": "passes",
    "one tcp three 5432 6": "denied",
    "one udp three 9090": "passes",
    "one ping three 4": "passes",
    "one ping three 6": "denied",
    "one udp two 5432 6": "passes",
  });
  // Each connection is one new packet, whatever it sends and hears then.
  const counted = { ports: [2, 2, 2], peerLists: [[2, 1]], rest: [1, 1] };
  assert.deepEqual((await policy.lookups([out])).get("out"), counted);
  await policy.ensure(emptyRuleset);
  assert.deepEqual(policy.goneLookups().get("out"), counted);
});

void test("of two layers each must allow; one on probation only counts", async (t) => {
  const { policy, setClass, expect, counted } = await makePolicyStage(t);
  await policy.ensure(
    withClasses({
      101: { egress: ["only_tcp", "only_8080"] },
      102: { egress: ["audited", "only_8080"], ingress: ["open_in"] },
      103: { egress: ["only_8080", "audited"], ingress: ["open_in", "shut_in"] },
    }),
  );
  setClass("one", 101);
  setClass("two", 102);
  setClass("three", 103);
  await expect({
    "one tcp two 8080": "passes",
    "one udp two 8080": "denied",
    "one tcp two 5432": "denied",
    "one tcp three 8080": "denied",
    "two udp outside 8080": "passes",
    "two udp outside 9090": "denied",
    "three tcp two 8080": "passes",
    "three tcp two 5432": "denied",
    "outside udp two 5432": "passes",
    "outside udp three 5432": "denied",
  });
  for (const counter of ["only_tcp.deny", "only_8080.deny", "shut_in.deny", "audited.audit"]) {
    assert.ok(counted(counter) > 0, counter);
  }
});

void test("sets with ports allow an address with its port", async (t) => {
  const { policy, setClass, expect } = await makePolicyStage(t);
  const rest = peers("named").map((peer) => ({ peer: { ...peer, withPort: true } as const }));
  await policy.ensure(
    ruleset({
      classes: { 101: { egress: ["named"] } },
      layers: [layer("named", { rest })],
      memberSets: [
        namedPortMembers("named4", 4, `${at.two[4]} tcp 8080`, `${at.three[4]} tcp 5432`),
        namedPortMembers("named6", 6, `${at.two[6]} tcp 8080`, `${at.three[6]} tcp 5432`),
      ],
    }),
  );
  setClass("one", 101);
  await expect({
    "one tcp two 8080": "passes",
    "one tcp three 5432": "passes",
    "one tcp two 5432": "denied",
    "one tcp three 8080": "denied",
    "one udp two 8080": "denied",
    "one ping two": "denied",
  });
});

void test("a class that nobody knows lets nothing pass and is counted; other groups are left alone", async (t) => {
  const { policy, setClass, expect, counted } = await makePolicyStage(t);
  await policy.ensure(withClasses({ 101: { egress: ["open"] } }));
  for (const unknown of [102, 65_535]) {
    setClass("one", unknown);
    await expect({ "one tcp outside 8080": "denied", "one ping two": "denied", "outside udp one 8080": "denied" });
  }
  assert.ok(counted("unknown_class") >= 12);
  for (const other of [0, 99, 100, 65_536]) {
    setClass("one", other);
    await expect({ "one tcp outside 8080": "passes", "one ping two": "passes", "outside udp one 8080": "passes" });
  }
  setClass("one", 101);
  await expect({ "one tcp outside 8080": "passes", "outside udp one 8080": "passes" });
  await policy.ensure(withClasses({}));
  await expect({ "one tcp outside 9090": "denied", "outside udp one 9090": "denied" });
});

void test("what pods send to their node is judged where a class says so, neighbour discovery never", async (t) => {
  const { node, podNetns, policy, setClass, expect } = await makePolicyStage(t);
  await policy.ensure(withClasses({ 101: { egress: ["shut"] }, 102: { toNode: ["only_8080"] }, 103: {} }));
  setClass("one", 101);
  setClass("two", 102);
  setClass("three", 103);
  await expect({
    "one tcp node 5432": "passes",
    "one tcp outside 8080": "denied",
    "two tcp node 8080": "passes",
    "two udp node 8080": "passes",
    "two udp node 5432": "denied",
    "two ping node": "denied",
    "two udp outside 5432": "passes",
    "three ping node": "passes",
    "node tcp two 5432": "passes",
  });
  node.run("sh", "-ec", "ip address add fe80::1/64 dev fl2 nodad");
  podNetns.two.run("sh", "-ec", "ip -6 neighbour del fe80::1 dev eth0; ip address add fe80::2/64 dev eth0 nodad");
  await expect({ "two tcp node 8080 6": "passes" });
  assert.match(podNetns.two.run("ip", "-6", "neighbour", "show", "fe80::1"), /REACHABLE|DELAY|STALE/);
  await policy.ensure(withClasses({ 101: { egress: ["shut"] }, 102: {}, 103: {} }));
  await expect({ "two udp node 5432": "passes", "two ping node": "passes" });
});

void test("a pod reaches itself through a service whatever its layers say, and none of them counts it", async (t) => {
  const { node, policy, setClass, expect, counted } = await makePolicyStage(t);
  node.run(
    "nft",
    `table inet service {
      chain before { type nat hook prerouting priority -100; ip daddr 10.96.0.1 dnat ip to ${at.one[4]}; }
      chain behind { type nat hook postrouting priority 100; iifname "fl1" oifname "fl1" masquerade; }
    }`,
  );
  const classes = { 101: { egress: ["shut"], ingress: ["shut_in"] }, 102: { egress: ["audited"] } };
  const ownCounts = (): number[] => ["shut.deny", "shut_in.deny", "audited.audit"].map(counted);
  await policy.ensure(withClasses(classes, ["fl2"]));
  setClass("one", 101);
  await expect({ "one tcp 10.96.0.1 8080 4": "denied" });
  assert.deepEqual(ownCounts(), [1, 0, 0]);
  await policy.admit(["fl1"]);
  await expect({ "one tcp 10.96.0.1 8080 4": "passes", "one udp 10.96.0.1 5432 4": "passes" });
  setClass("one", 102);
  await expect({ "one tcp 10.96.0.1 9090 4": "passes" });
  assert.deepEqual(ownCounts(), [1, 0, 0]);
  setClass("one", 101);
  await expect({ "one tcp two 8080": "denied", "two tcp one 8080": "denied" });
  await policy.withdraw(["fl1"]);
  await expect({ "one tcp 10.96.0.1 5432 4": "denied" });
});

/** Sends more than the way takes, and says each time how much fits as far as it knows. */
const tooBig = `
import socket, sys
six = ":" in sys.argv[1]
sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
level, discover, size = (socket.IPPROTO_IPV6, 23, 24) if six else (socket.IPPROTO_IP, 10, 14)
sock.setsockopt(level, discover, 2)
sock.connect((sys.argv[1], 8080))
print("ready", flush=True)
while sys.stdin.readline():
    try:
        sock.send(bytes(1400))
    except OSError:
        pass
    print(sock.getsockopt(level, size), flush=True)
`;

void test("errors about allowed flows come back: a way that is too narrow is found out", async (t) => {
  const { podNetns, policy, setClass } = await makePolicyStage(t);
  await policy.ensure(withClasses({ 101: { egress: ["only_8080"], ingress: ["shut_in"] } }));
  setClass("one", 101);
  for (const family of [4, 6] as const) {
    const { say, hear } = await runIn(t, podNetns.one, tooBig, at.beyond[family]);
    await until(`IPv${family} learns of it`, async () => {
      say("");
      return Number(await hear()) === narrowMtu;
    });
  }
});

/** Holds a connection open and says each time that it is given a line whether it was answered. */
const holding = `
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
print("ready", flush=True)
while sys.stdin.readline():
    sock.settimeout(5)
    try:
        sock.send(b"hello")
        print("yes" if sock.recv(64) else "end", flush=True)
    except ConnectionError:
        print("reset", flush=True)
    except OSError:
        print("no", flush=True)
`;

async function hold(
  t: Parameters<typeof runIn>[0],
  { podNetns }: PolicyStage,
  address: string,
  port: number,
): Promise<() => Promise<string>> {
  const { say, hear }: Running = await runIn(t, podNetns.one, holding, address, String(port));
  return () => {
    say("");
    return hear();
  };
}

void test("a connection goes on when policy narrows, and is reset once it is cut; others are not touched", async (t) => {
  const stage = await makePolicyStage(t);
  const { policy, conntrack, setClass, counted, expect } = stage;
  await policy.ensure(withClasses({ 101: { egress: ["open"] } }));
  setClass("one", 101);
  for (const family of [4, 6] as const) {
    const address = at.two[family];
    const cutOne = await hold(t, stage, address, 5432);
    const kept = await hold(t, stage, address, 8080);
    const allowed = await hold(t, stage, address, 8080);
    await policy.ensure(withClasses({ 101: { egress: ["only_8080"] } }));
    assert.equal(await cutOne(), "yes", "established");
    const target = present(parseIp(address), address);
    assert.ok((await conntrack.cut([target], ({ original }) => original.destinationPort === 5432)) > 0);
    const before = counted("midstream");
    assert.equal(await cutOne(), "reset");
    assert.ok(counted("midstream") > before);
    assert.equal(await kept(), "yes");
    assert.equal(await allowed(), "yes");
    await expect({ "one tcp two 5432": "denied", "one tcp two 8080": "passes" });
    await policy.ensure(withClasses({ 101: { egress: ["open"] } }));
  }
});

void test("connections that began before there was any policy go on when their pod gets a class", async (t) => {
  const stage = await makePolicyStage(t);
  await stage.policy.ensure(emptyRuleset);
  const began = await hold(t, stage, at.outside[4], 9090);
  await stage.policy.ensure(withClasses({ 101: { egress: ["shut"] } }));
  stage.setClass("one", 101);
  assert.equal(await began(), "yes");
  await stage.expect({ "one tcp outside 9090": "denied" });
});

// Policy with packets that no socket sends: fragments, SCTP on a kernel without it, errors about flows that are and that never were.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { layer, ruleset, sctp, udp } from "../../../test/policy-rulesets.ts";
import { at, makePolicyStage, type Pod, type PolicyStage } from "../../../test/policy-stage.ts";
import {
  type Ends,
  fragments,
  icmpError,
  openRaw,
  packet,
  protocols,
  sctpInit,
  sctpInitAck,
  udpDatagram,
} from "../../../test/raw-packets.ts";
import type { TestNetns } from "../../../test/netns.ts";
import { until } from "../../../test/until.ts";

const families = [4, 6] as const;
type Family = (typeof families)[number];

const [allowedPort, deniedPort, closedPort, markPort] = [8080, 9090, 8081, 7777];
const udpPorts = [allowedPort, closedPort, markPort].map((port) => ({ protocol: udp, port, peers: "any" as const }));
const layers = (["egress", "ingress"] as const).flatMap((direction) => [
  layer(`some_${direction}`, { direction, ports: [...udpPorts, { protocol: sctp, port: 5000, peers: "any" }] }),
  layer(`range_${direction}`, { direction, rest: [{ protocol: udp, ports: { first: 7000, last: 8999 } }] }),
  layer(`shut_${direction}`, { direction }),
]);

/** Counts what arrives before anything of the kernel has put it together. */
const arrivals = `table inet arrived {
  counter of_udp {}
  counter of_later {}
  counter of_answer {}
  counter of_mark {}
  counter of_sctp {}
  counter of_error {}
  chain arrive {
    type filter hook prerouting priority -500
    udp dport ${markPort} counter name of_mark accept
    udp sport ${allowedPort} counter name of_answer
    meta l4proto udp counter name of_udp
    ip frag-off & 0x1fff != 0 counter name of_later
    frag frag-off != 0 counter name of_later
    meta l4proto sctp counter name of_sctp
    icmp type { destination-unreachable, time-exceeded } counter name of_error
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } counter name of_error
  }
}`;

interface Arrived {
  udp: number;
  later: number;
  answer: number;
  mark: number;
  sctp: number;
  error: number;
}

function arrived(netns: TestNetns): Arrived {
  const listed = netns.run("nft", "list", "counters", "table", "inet", "arrived");
  const count = (name: string): number =>
    Number(new RegExp(`counter of_${name} \\{\\s+packets (\\d+)`).exec(listed)?.[1] ?? assert.fail(listed));
  const [all, later, answer, mark, ofSctp, error] = ["udp", "later", "answer", "mark", "sctp", "error"].map(count);
  assert.ok(all !== undefined && later !== undefined && answer !== undefined);
  assert.ok(mark !== undefined && ofSctp !== undefined && error !== undefined);
  return { udp: all, later, answer, mark, sctp: ofSctp, error };
}

interface Way {
  ends: (family: Family) => Ends;
  /** Sends these, then one packet that every policy here lets through, and gives what has come when that one has. */
  send: (family: Family, packets: readonly Buffer[]) => Promise<Arrived>;
}

type Place = Pod | "outside";

/** The way from one machine to another. */
async function way(t: TestContext, stage: PolicyStage, from: Place, to: Place): Promise<Way> {
  const netnsOf = (place: Place): TestNetns => (place === "outside" ? stage.outside : stage.podNetns[place]);
  const send = await openRaw(t, netnsOf(from));
  const target = netnsOf(to);
  const ends = (family: Family): Ends => ({ from: at[from][family], to: at[to][family] });
  return {
    ends,
    send: async (family, packets) => {
      const before = arrived(target);
      const mark = packet(ends(family), protocols.udp, udpDatagram(ends(family), markPort, markPort, 8));
      await send(at[to][family], [...packets, mark]);
      await until("the last of them has come", () => arrived(target).mark > before.mark);
      const after = arrived(target);
      return {
        udp: after.udp - before.udp,
        later: after.later - before.later,
        answer: after.answer - before.answer,
        mark: 1,
        sctp: after.sctp - before.sctp,
        error: after.error - before.error,
      };
    },
  };
}

async function makeStage(t: TestContext): Promise<PolicyStage> {
  const stage = await makePolicyStage(t);
  for (const netns of [...Object.values(stage.podNetns), stage.outside]) netns.run("nft", arrivals);
  return stage;
}

/** Who judges the flow, and by what: the port by a map, or by a range. */
const judges: Record<string, Parameters<typeof ruleset>[0]["classes"]> = {
  "the sender, by port": { 101: { egress: ["some_egress"] }, 102: {} },
  "the receiver, by port": { 101: {}, 102: { ingress: ["some_ingress"] } },
  "the sender, by range": { 101: { egress: ["range_egress"] }, 102: {} },
  "the receiver, by range": { 101: {}, 102: { ingress: ["range_ingress"] } },
};

void test("fragments are judged as the packet that they are of: none of a denied one arrives, however it is cut", async (t) => {
  const stage = await makeStage(t);
  stage.setClass("one", 101);
  stage.setClass("two", 102);
  const { ends, send } = await way(t, stage, "one", "two");
  let id = 1;
  for (const [who, classes = {}] of Object.entries(judges)) {
    await stage.policy.ensure(ruleset({ classes, layers }));
    for (const family of families) {
      const of = (port: number, source: number, ...cuts: number[]): Buffer[] =>
        fragments(ends(family), protocols.udp, udpDatagram(ends(family), source, port, 2992), cuts, (id += 1));
      const title = `${who}, IPv${family}`;
      const answered = arrived(stage.podNetns.one).answer;
      for (const [cut, source] of [
        [[1024, 2048], 2001],
        [[8, 1024, 2048], 2002],
        [[8, 16, 1024, 2048], 2003],
      ] as const) {
        const came = await send(family, of(allowedPort, source, ...cut));
        assert.ok(came.udp > 1 && came.later > 0, `${title}: allowed, cut at ${cut.join()}: ${JSON.stringify(came)}`);
      }
      const turned = await send(family, of(allowedPort, 2004, 1024, 2048).toReversed());
      assert.ok(turned.udp > 1, `${title}: allowed, the last first`);
      await until(`${title}: the pod answers each`, () => arrived(stage.podNetns.one).answer >= answered + 4);

      const [first, middle, last] = of(allowedPort, 2005, 1024, 2048);
      const [head, ...others] = of(deniedPort, 2006, 24, 1024, 2048);
      assert.ok(first !== undefined && middle !== undefined && last !== undefined && head !== undefined);
      // A first part that says the allowed port, and one that lies upon it and says the other.
      const id2 = (id += 1);
      const [allowedHead] = fragments(
        ends(family),
        protocols.udp,
        udpDatagram(ends(family), 2007, allowedPort, 2992),
        [24],
        id2,
      );
      const [, ...overlapping] = fragments(
        ends(family),
        protocols.udp,
        udpDatagram(ends(family), 2007, deniedPort, 2992),
        [16, 1024, 2048],
        id2,
      );
      const denied: Record<string, Buffer[]> = {
        "in three": of(deniedPort, 2001, 1024, 2048),
        "with a tiny head": of(deniedPort, 2002, 8, 1024, 2048),
        "the last first": of(deniedPort, 2003, 1024, 2048).toReversed(),
        "of a flow that passes, without the first": [middle, last],
        "without the first": others,
        "the head alone": [head],
        "with a head of another port under it": [allowedHead ?? head, ...overlapping],
      };
      for (const [how, packets] of Object.entries(denied)) {
        assert.deepEqual(await send(family, packets), nothing, `${title}: denied, ${how}`);
      }
    }
  }
});

const nothing: Arrived = { udp: 0, later: 0, answer: 0, mark: 1, sctp: 0, error: 0 };

void test("SCTP is judged by its port, answers pass, and what only looks like an answer does not", async (t) => {
  const stage = await makeStage(t);
  const classes = {
    101: { egress: ["some_egress"], ingress: ["mark_in"] },
    102: { egress: ["mark_out"], ingress: ["some_ingress"] },
  };
  const marks = [{ protocol: udp, port: markPort, peers: "any" as const }];
  const marked = [layer("mark_out", { ports: marks }), layer("mark_in", { direction: "ingress", ports: marks })];
  await stage.policy.ensure(ruleset({ classes, layers: [...layers, ...marked] }));
  stage.setClass("one", 101);
  stage.setClass("two", 102);
  const [there, back] = [await way(t, stage, "one", "two"), await way(t, stage, "two", "one")];
  for (const family of families) {
    const init = (source: number, port: number): Buffer =>
      packet(there.ends(family), protocols.sctp, sctpInit(source, port, 77));
    const ack = (port: number, to: number): Buffer =>
      packet(back.ends(family), protocols.sctp, sctpInitAck(port, to, 77));
    assert.equal((await there.send(family, [init(3001, 5000)])).sctp, 1, `IPv${family}: the allowed port`);
    assert.equal((await there.send(family, [init(3001, 5001)])).sctp, 0, `IPv${family}: another port`);
    assert.equal((await back.send(family, [ack(5000, 3001)])).sctp, 1, `IPv${family}: the answer`);
    assert.equal((await back.send(family, [ack(5000, 3002)])).sctp, 0, `IPv${family}: an answer to nothing`);
    const called = packet(back.ends(family), protocols.sctp, sctpInit(5000, 3001, 78));
    assert.equal(
      (await back.send(family, [init(5000, 3003), called])).sctp,
      1,
      `IPv${family}: of the association that stands`,
    );
    const other = packet(back.ends(family), protocols.sctp, sctpInit(5002, 3004, 79));
    assert.equal((await back.send(family, [other])).sctp, 0, `IPv${family}: what the called one begins`);
  }
});

void test("errors about allowed flows always pass, errors about flows that never were do not, in either direction", async (t) => {
  const stage = await makeStage(t);
  const marks = [{ protocol: udp, port: markPort, peers: "any" as const }];
  const marked = [layer("mark_out", { ports: marks }), layer("mark_in", { direction: "ingress", ports: marks })];
  const classes = {
    101: { egress: ["some_egress"], ingress: ["mark_in"] },
    102: { egress: ["shut_egress"], ingress: ["some_ingress"] },
  };
  await stage.policy.ensure(ruleset({ classes, layers: [...layers, ...marked] }));
  stage.setClass("one", 101);
  stage.setClass("two", 102);
  const toTwo = await way(t, stage, "one", "two");
  const [out, into] = [await way(t, stage, "one", "outside"), await way(t, stage, "outside", "one")];
  const { one } = stage.podNetns;
  for (const family of families) {
    const errors = arrived(one).error;
    const closed = udpDatagram(toTwo.ends(family), 4001, closedPort, 8);
    await toTwo.send(family, [packet(toTwo.ends(family), protocols.udp, closed)]);
    await until(
      `IPv${family}: the pod that may send nothing says that the port is closed`,
      () => arrived(one).error > errors,
    );

    const [standing, never] = [4002, 4003].map((source) =>
      packet(out.ends(family), protocols.udp, udpDatagram(out.ends(family), source, allowedPort, 8)),
    );
    assert.ok(standing !== undefined && never !== undefined);
    await out.send(family, [standing]);
    const said =
      family === 4
        ? { tooBig: [3, 4], late: [11, 0], closed: [3, 3] }
        : { tooBig: [2, 0], late: [3, 0], closed: [1, 4] };
    for (const [what, [type = 0, code = 0]] of Object.entries(said)) {
      const kind = { type, code, value: what === "tooBig" ? 1300 : 0 };
      const about = (quoted: Buffer): Buffer[] => [icmpError(into.ends(family), kind, quoted)];
      const title = `IPv${family}: ${what}`;
      assert.equal((await into.send(family, about(standing))).error, 1, `${title}, of a flow that is`);
      assert.equal((await into.send(family, about(never))).error, 0, `${title}, of one that never was`);
      const outward = packet(into.ends(family), protocols.udp, udpDatagram(into.ends(family), 4004, 4005, 8));
      assert.equal(
        (await out.send(family, [icmpError(out.ends(family), kind, outward)])).error,
        0,
        `${title}, from the pod`,
      );
    }
  }
});

void test("neighbours are found whatever is closed, from the pod and from its node", async (t) => {
  const stage = await makeStage(t);
  const shut = { egress: ["shut_egress"], ingress: ["shut_ingress"], toNode: ["shut_egress"] };
  await stage.policy.ensure(ruleset({ classes: { 101: shut }, layers }));
  stage.setClass("one", 101);
  const { one } = stage.podNetns;
  stage.node.run("sh", "-ec", "ip address add fe80::1/64 dev fl1 nodad");
  one.run("sh", "-ec", "ip -6 neighbour del fe80::1 dev eth0; ip address add fe80::2/64 dev eth0 nodad");
  stage.node.run("ip", "neighbour", "del", at.one[6], "dev", "fl1");
  // The node asks who has the pod's address, and is answered by a pod that may send its node nothing.
  await stage.expect({ "node ping one 6": "passes", "node tcp one 8080": "passes", "one ping node": "denied" });
  assert.match(stage.node.run("ip", "-6", "neighbour", "show", at.one[6], "dev", "fl1"), /REACHABLE|DELAY|STALE/);
  await stage.expect({ "one tcp outside 8080 6": "denied" });
  await until("the pod has found its gateway", () =>
    /REACHABLE|DELAY|STALE/.test(one.run("ip", "-6", "neighbour", "show", "fe80::1")),
  );
});

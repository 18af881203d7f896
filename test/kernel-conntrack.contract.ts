// The kernel contract's part on tracked connections: in which of them an address has part, and that only those go.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Connection, type ConnectionTuple, conntrackAddressesMax } from "../src/kernel/contract.ts";
import type { Ip } from "../src/net/ip.ts";
import { connection } from "./conntrack-entries.ts";
import { type MakeKernel, faultOf, ip } from "./kernel-stage.ts";

const [icmp, tcp, udp, gre, esp, icmp6, sctp] = [1, 6, 17, 47, 50, 58, 132];

const pod = ip("10.4.1.7");
const pod6 = ip("fd00:10::7");
const other = ip("10.4.1.70");
const outside = ip("192.0.2.9");
const outside6 = ip("2001:db8::9");
const [service, node, backend] = [ip("10.96.0.1"), ip("172.30.0.11"), ip("10.4.2.5")];

const ports = (sourcePort: number, destinationPort: number): Partial<ConnectionTuple> => ({
  sourcePort,
  destinationPort,
});
const from = (source: Ip, destination: Ip, more: Partial<ConnectionTuple> = {}): ConnectionTuple => ({
  source,
  destination,
  ...more,
});

/** The pod has part in each of them, in another place. */
const ofPod: Readonly<Record<string, Connection>> = {
  "to the outside": connection(tcp, from(pod, outside, ports(40_000, 443)), { replied: true, assured: true }),
  "from the outside": connection(udp, from(outside, pod, ports(40_001, 53))),
  "masqueraded, only original source": connection(tcp, from(pod, outside, ports(40_002, 443)), {
    reply: from(outside, node, ports(443, 61_002)),
    replied: true,
  }),
  "of a service, only reply source": connection(tcp, from(node, service, ports(40_003, 80)), {
    reply: from(pod, node, ports(8080, 40_003)),
    replied: true,
    assured: true,
  }),
  "sent elsewhere, only original destination": connection(udp, from(outside, pod, ports(40_004, 53)), {
    reply: from(backend, outside, ports(53, 40_004)),
  }),
  "under its address, only reply destination": connection(udp, from(other, outside, ports(40_005, 53)), {
    reply: from(outside, pod, ports(53, 40_005)),
  }),
};

/** Of others, with bytes that look like the pod's. */
const ofOthers: readonly Connection[] = [
  connection(tcp, from(other, outside, ports(40_000, 443)), { replied: true }),
  connection(udp, from(outside6, ip("fd00:10::a04:107"), ports(0x0a04, 0x0107))),
  connection(udp, from(ip("7.1.4.10"), outside, ports(0x0a04, 0x0107))),
];

const everyProtocol: readonly Connection[] = [
  connection(icmp, from(pod, outside, { icmp: { id: 77, type: 8, code: 0 } })),
  connection(tcp, from(pod, outside, ports(1, 2)), { tcpState: "time-wait", replied: true, assured: true }),
  connection(tcp, from(outside, pod, ports(9, 2)), { tcpState: "closed", replied: true }),
  connection(udp, from(outside, pod, ports(65_535, 1))),
  connection(gre, from(pod, outside, ports(5, 6))),
  connection(esp, from(pod, outside)),
  connection(sctp, from(pod, outside, ports(7, 8))),
  connection(icmp6, from(outside6, pod6, { icmp: { id: 78, type: 128, code: 0 } }), { replied: true }),
  connection(tcp, from(pod6, outside6, ports(1, 2)), { tcpState: "syn-sent" }),
  connection(udp, from(outside6, pod6, ports(3, 4)), { assured: true }),
  connection(esp, from(pod6, outside6)),
];

const sorted = (connections: readonly Connection[]): Connection[] =>
  connections.toSorted((a, b) => (JSON.stringify(a.original) < JSON.stringify(b.original) ? -1 : 1));

export function testConntrack(make: MakeKernel): void {
  for (const [name, theirs] of Object.entries(ofPod)) {
    void test(`a connection ${name}, is listed for the pod and forgotten; others stay`, async (t) => {
      const { kernel, track } = await make(t);
      await track([theirs, ...ofOthers]);
      assert.deepEqual(await kernel.conntrack.list([pod, pod6]), [theirs]);
      assert.equal(await kernel.conntrack.forget([pod, pod6]), 1);
      assert.deepEqual(await kernel.conntrack.list([pod, pod6]), []);
      assert.deepEqual(
        sorted(await kernel.conntrack.list([other, outside, outside6])),
        sorted(ofOthers),
        "nothing else went",
      );
    });
  }

  void test("every protocol of both families is listed as it is, and forgotten at once", async (t) => {
    const { kernel, track } = await make(t);
    await track(everyProtocol);
    assert.deepEqual(sorted(await kernel.conntrack.list([pod, pod6])), sorted(everyProtocol));
    assert.equal((await kernel.conntrack.list([pod])).length, 7);
    assert.equal((await kernel.conntrack.list([pod6])).length, 4);
    assert.equal(await kernel.conntrack.forget([pod6, pod]), everyProtocol.length);
    assert.deepEqual(await kernel.conntrack.list([pod, pod6, outside, outside6]), []);
  });

  void test("of the pod's connections those are cut that are not wanted, and the rest goes on", async (t) => {
    const { kernel, track } = await make(t);
    await track([...Object.values(ofPod), ...ofOthers]);
    const asked: Connection[] = [];
    const gone = await kernel.conntrack.cut([pod, pod6], (one) => {
      asked.push(one);
      return one.protocol === udp;
    });
    assert.equal(gone, 3);
    assert.deepEqual(sorted(asked), sorted(Object.values(ofPod)), "nobody else's are asked about");
    const kept = Object.values(ofPod).filter(({ protocol }) => protocol !== udp);
    assert.deepEqual(sorted(await kernel.conntrack.list([pod, pod6])), sorted(kept));
    assert.equal((await kernel.conntrack.list([other, outside, outside6])).length, 2 + ofOthers.length);
    assert.equal(await kernel.conntrack.cut([pod], () => false), 0);
  });

  void test("an entry of two of the addresses is one entry; a second time there is nothing to forget", async (t) => {
    const { kernel, track } = await make(t);
    await track(Object.values(ofPod));
    const addresses = [other, pod, outside, pod, backend];
    assert.equal((await kernel.conntrack.list(addresses)).length, 6);
    assert.equal(await kernel.conntrack.forget(addresses), 6);
    assert.equal(await kernel.conntrack.forget(addresses), 0);
  });

  void test("where nothing is tracked, or nobody is named, nothing is found", async (t) => {
    const { kernel, track } = await make(t);
    assert.equal(await kernel.conntrack.forget([pod, pod6]), 0);
    assert.deepEqual(await kernel.conntrack.list([pod, pod6]), []);
    await track(ofOthers);
    assert.equal(await kernel.conntrack.forget([]), 0);
    assert.deepEqual(await kernel.conntrack.list([]), []);
    assert.equal((await kernel.conntrack.list([outside, outside6])).length, ofOthers.length);
  });

  void test("so many addresses at once, and not one more", async (t) => {
    const { kernel, track } = await make(t);
    await track([connection(udp, from(pod, outside, ports(1, 2)))]);
    const many = Array.from({ length: conntrackAddressesMax }, (_, n) => ip(`10.4.${n >> 8}.${n & 255}`));
    const tooMany = [...many, outside];
    await assert.rejects(kernel.conntrack.forget(tooMany), faultOf("kernel-refused"));
    await assert.rejects(kernel.conntrack.list(tooMany), faultOf("kernel-refused"));
    assert.equal((await kernel.conntrack.list(many)).length, 1);
    assert.equal(await kernel.conntrack.forget(many), 1);
  });

  void test("calls side by side count each entry once", async (t) => {
    const { kernel, track } = await make(t);
    await track(everyProtocol);
    const counts = await Promise.all([1, 2, 3, 4].map(() => kernel.conntrack.forget([pod, pod6])));
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      everyProtocol.length,
    );
  });

  void test("a closed kernel neither lists nor forgets", async (t) => {
    const { kernel } = await make(t);
    kernel.close();
    await assert.rejects(kernel.conntrack.list([pod]), faultOf("agent-stopping"));
    await assert.rejects(kernel.conntrack.forget([pod]), faultOf("agent-stopping"));
  });
}

// The kernel contract's part on the flow log: which packets and connections are told, to whom, and until when.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionEvent, Logged, LoggedPacket } from "../src/kernel/flow-log-contract.ts";
import { connection } from "./conntrack-entries.ts";
import { type MakeKernel, faultOf, ip } from "./kernel-stage.ts";
import { until } from "./until.ts";

const udp = 17;
const [pod, pod6] = [ip("10.4.1.7"), ip("fd00:10::7")];
const [stranger, outside, outside6] = [ip("10.4.1.8"), ip("192.0.2.9"), ip("2001:db8::9")];

const textOf = ({ outcome, inLink, outLink, head }: LoggedPacket): string =>
  `${outcome} ${inLink ?? "-"} ${outLink ?? "-"} ${head.source} > ${head.destination} ${head.protocol} ${head.destinationPort}`;

export function testFlowLog(make: MakeKernel): void {
  void test("packets that are logged are told in order, until nobody listens", async (t) => {
    const { kernel, logPacket } = await make(t);
    const told: Logged[] = [];
    const stop = await kernel.flowLog.packets((one) => told.push(one));
    logPacket("denied", ip("127.0.0.2"), 9);
    logPacket("audited", ip("::1"), 10);
    await until("both were told", () => told.length >= 2);
    assert.deepEqual(
      told.map((one) => (one.what === "packet" ? textOf(one) : one.what)),
      ["denied - 1 127.0.0.1 > 127.0.0.2 17 9", "audited - 1 ::1 > ::1 17 10"],
    );
    stop();
    stop();
    const later: Logged[] = [];
    const stopLater = await kernel.flowLog.packets((one) => later.push(one));
    logPacket("denied", ip("127.0.0.3"), 9);
    await until("it was told to who listens now", () => later.length > 0);
    assert.equal(told.length, 2);
    stopLater();
  });

  void test("one listens to packets and one follows connections, and nobody to those of a closed kernel", async (t) => {
    const { kernel } = await make(t);
    const ignore = (): void => undefined;
    const stop = await kernel.flowLog.packets(ignore);
    await assert.rejects(kernel.flowLog.packets(ignore), faultOf("kernel-busy"));
    stop();
    await kernel.flowLog.packets(ignore);
    const end = kernel.flowLog.connections(() => [], ignore);
    assert.throws(() => kernel.flowLog.connections(() => [], ignore), faultOf("kernel-busy"));
    end();
    kernel.flowLog.connections(() => [], ignore);
    kernel.close();
    await assert.rejects(kernel.flowLog.packets(ignore), faultOf("agent-stopping"));
    assert.throws(() => kernel.flowLog.connections(() => [], ignore), faultOf("agent-stopping"));
    stop();
    end();
  });

  void test("connections in which an address has part are told as they begin and end; the addresses may change", async (t) => {
    const { kernel, track } = await make(t);
    const told: ConnectionEvent[] = [];
    let addresses = [pod];
    const stop = kernel.flowLog.connections(
      () => addresses,
      (event) => told.push(event),
    );
    const ports = { sourcePort: 40_000, destinationPort: 53 };
    const own = connection(udp, { source: pod, destination: outside, ...ports });
    const own6 = connection(udp, { source: outside6, destination: pod6, ...ports });
    await track([connection(udp, { source: stranger, destination: outside, ...ports }), own6, own]);
    await until("the first was told", () => told.length > 0);
    addresses = [pod, pod6];
    await kernel.conntrack.forget([pod, pod6, stranger]);
    await until("their ends were told", () => told.length >= 3);
    const tellings = told.map((one) =>
      one.what === "lost" ? "lost" : `${one.what} ${one.connection.original.source}`,
    );
    assert.equal(tellings[0], `began ${pod}`);
    assert.deepEqual(new Set(tellings.slice(1)), new Set([`ended ${pod}`, `ended ${outside6}`]));
    for (const one of told.slice(0, 1)) assert.deepEqual(one, { what: "began", connection: own });
    stop();
    await track([own]);
    await kernel.conntrack.list([pod]);
    assert.equal(told.length, 3);
  });
}

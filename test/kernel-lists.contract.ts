// The kernel contract's part on lists of operations, settings, and the end of namespaces and kernels.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../src/base/assert.ts";
import type { Op } from "../src/kernel/contract.ts";
import { cidrOf } from "../src/net/cidr.ts";
import { ipFromNumber } from "../src/net/ip.ts";
import { type MakeKernel, applyOk, cidr, codes, faultOf, ip, makePair, pairOp, podMac } from "./kernel-stage.ts";
import { until } from "./until.ts";

export function testLists(make: MakeKernel): void {
  void test("operations take effect in order, each seeing the ones before it", async (t) => {
    const { kernel, podNetns } = await make(t);
    const pod = kernel.openNetns(podNetns());
    const results = await codes(kernel.node, [
      { op: "link.set", link: "fl0", up: true },
      pairOp(pod),
      { op: "link.set", link: "fl0", up: true },
      { op: "link.set", link: "fl0", rename: "fl1" },
      { op: "link.set", link: "fl1", alias: "renamed" },
      { op: "link.remove", link: "fl1" },
      { op: "link.set", link: "fl1", up: true },
      pairOp(pod),
    ]);
    assert.deepEqual(results, ["kernel-missing", "ok", "ok", "ok", "ok", "ok", "kernel-missing", "ok"]);
    assert.deepEqual(
      (await kernel.node.links()).map(({ name }) => name),
      ["lo", "fl0"],
    );
  });

  void test("one that fails stops none of the others, and every answer stands at its place", async (t) => {
    const { pod, peerIndex: link } = await makePair(t, make);
    const results = await pod.apply([
      { op: "address.add", link, address: ip("10.0.0.5"), prefix: 32 },
      { op: "address.add", link, address: ip("10.0.0.5"), prefix: 32 },
      { op: "link.set", link: 4711, up: true },
      { op: "route.add", route: { to: cidr("10.1.0.0/16"), link, via: ip("192.0.2.1") } },
      { op: "neighbour.set", link, address: ip("10.0.0.1"), mac: podMac },
    ]);
    const found = results.map(({ fault }) => fault?.code ?? "ok");
    assert.deepEqual(found, ["ok", "kernel-exists", "kernel-missing", "kernel-refused", "ok"]);
    assert.match(present(results[1]?.fault, "fault").message, /address\.add 10\.0\.0\.5\/32 on link \d+: .*EEXIST/);
    assert.match(present(results[2]?.fault, "fault").message, /link\.set link 4711: .*ENODEV/);
    assert.match(present(results[3]?.fault, "fault").message, /route\.add 10\.1\.0\.0\/16 via 192\.0\.2\.1/);
    assert.equal((await pod.neighbours()).length, 1);
  });

  void test("an empty list is no work", async (t) => {
    const { kernel } = await make(t);
    assert.deepEqual(await kernel.node.apply([]), []);
  });

  void test("a long list is done wholly and in order", async (t) => {
    const { node, index: link } = await makePair(t, make);
    const count = 2000;
    const route = (at: number, mtu: number): Op => ({
      op: "route.replace",
      route: { to: cidrOf(ipFromNumber(4, BigInt(0x0a00_0000 + at)), 32), link, scope: "link", mtu },
    });
    const first = Array.from({ length: count }, (_, at) => route(at, 1000));
    const second = Array.from({ length: count }, (_, at) => route(at, 1001));
    await applyOk(node, [...first, ...second]);
    const seen = (await node.routes()).filter((have) => have.mtu === 1001);
    assert.equal(new Set(seen.map(({ to }) => to)).size, count);
    const removes = seen.map((have): Op => ({ op: "route.remove", route: have }));
    await applyOk(node, removes);
    assert.deepEqual(
      (await node.routes()).filter((have) => have.link === link && have.table === undefined),
      [],
    );
  });

  void test("lists for one namespace at the same time do not mix", async (t) => {
    const { node, pod, index: link } = await makePair(t, make);
    const rounds = Array.from({ length: 30 }, (_, at) => at);
    const answers = await Promise.all(
      rounds.map(async (at) => {
        const address = ipFromNumber(4, BigInt(0x0a00_0000 + at));
        const set: Op = { op: "neighbour.set", link, address, mac: podMac };
        const [results, found] = await Promise.all([
          codes(node, [set, { op: "link.set", link: 4711, up: true }]),
          (at % 2 === 0 ? node : pod).link(1),
        ]);
        return [...results, found?.name];
      }),
    );
    assert.deepEqual(
      answers,
      rounds.map(() => ["ok", "kernel-missing", "lo"]),
    );
    assert.equal((await node.neighbours()).length, rounds.length);
  });
}

export function testSysctls(make: MakeKernel): void {
  const forward = "ipv4/ip_forward";

  void test("values are written and read as one namespace sees them", async (t) => {
    const { pod, under } = await makePair(t, make);
    const key = "ipv6/conf/eth0/accept_ra";
    await pod.writeSysctls({ [forward]: "1", [key]: "2" });
    assert.deepEqual(await pod.readSysctls([key, "ipv4/no_such_key", forward]), ["2", undefined, "1"]);
    const other = under.kernel.openNetns(under.podNetns());
    assert.deepEqual(await other.readSysctls([forward, key]), ["0", undefined]);
  });

  void test("the first that fails stops the rest, and is named", async (t) => {
    const { kernel, podNetns } = await make(t);
    const pod = kernel.openNetns(podNetns());
    await assert.rejects(
      pod.writeSysctls({ "ipv4/no_such_key": "7", [forward]: "1" }),
      (error: unknown) => faultOf("kernel-missing")(error) && /ipv4\/no_such_key.*7/.test(String(error)),
    );
    await assert.rejects(
      pod.writeSysctls({ "ipv6/conf/all/forwarding": "1", [forward]: "banana" }),
      (error: unknown) => faultOf("kernel-refused")(error) && /ipv4\/ip_forward.*banana/.test(String(error)),
    );
    assert.deepEqual(await pod.readSysctls([forward, "ipv6/conf/all/forwarding"]), ["0", "1"]);
  });

  void test("a key cannot lead out of the tree", async (t) => {
    const { kernel } = await make(t);
    for (const key of ["../kernel/hostname", "/proc/sys/kernel/hostname", ""]) {
      await assert.rejects(kernel.node.writeSysctls({ [key]: "x" }), faultOf("kernel-refused"), key);
    }
  });
}

export function testEnd(make: MakeKernel): void {
  void test("a namespace whose path goes stays as long as it is open; then its links end at both sides", async (t) => {
    const { under, node, pod, podPath, index } = await makePair(t, make);
    under.removeNetns(podPath);
    assert.throws(() => under.kernel.openNetns(podPath), faultOf("netns-missing"));
    await applyOk(pod, [{ op: "link.set", link: "eth0", rename: "eth9" }]);
    assert.equal((await node.link(index))?.name, "fl0");
    pod.close();
    await until("the host's end is gone too", async () => (await node.link(index)) === undefined);
    assert.deepEqual(await codes(node, [{ op: "link.set", link: index, up: false }]), ["kernel-missing"]);
    assert.deepEqual(await codes(node, [{ op: "link.remove", link: index }]), ["ok"]);
  });

  void test("a closed namespace answers nothing, and others of the same path go on", async (t) => {
    const { under, node, pod, podPath } = await makePair(t, make);
    const second = under.kernel.openNetns(podPath);
    pod.close();
    pod.close();
    await assert.rejects(pod.links(), faultOf("kernel-refused"));
    await assert.rejects(pod.link("eth0"), faultOf("kernel-refused"));
    await assert.rejects(pod.apply([{ op: "link.set", link: 1, up: true }]), faultOf("kernel-refused"));
    await assert.rejects(pod.readSysctls(["ipv4/ip_forward"]), faultOf("kernel-refused"));
    await assert.rejects(pod.writeSysctls({ "ipv4/ip_forward": "1" }), faultOf("kernel-refused"));
    await assert.rejects(node.apply([pairOp(pod, "fl1", "eth1")]), faultOf("kernel-refused"));
    assert.equal((await second.link("eth0"))?.name, "eth0");
  });

  void test("a peer's namespace may be closed while the pair is under way", async (t) => {
    const { kernel, podNetns } = await make(t);
    const path = podNetns();
    const pod = kernel.openNetns(path);
    // The look-up of the first leaves time for the close to come before the pair is sent.
    const made = kernel.node.apply([{ op: "link.set", link: "fl7", rename: "fl8" }, pairOp(pod)]);
    pod.close();
    assert.deepEqual(
      (await made).map(({ fault }) => fault?.code),
      ["kernel-missing", undefined],
    );
    assert.equal((await kernel.openNetns(path).link("eth0"))?.kind, "veth");
  });

  void test("a closed kernel opens nothing and answers nothing", async (t) => {
    const { under, node, pod } = await makePair(t, make);
    const path = under.podNetns();
    under.kernel.close();
    assert.throws(() => under.kernel.openNetns(path), faultOf("agent-stopping"));
    for (const netns of [node, pod]) await assert.rejects(netns.links(), faultOf("kernel-refused"));
    await assert.rejects(under.kernel.guard.list(), faultOf("kernel-refused", "agent-stopping"));
    // Closing again does nothing, to other kernels in particular.
    const links = (await make(t)).kernel.node.links();
    under.kernel.close();
    assert.equal((await links).length, 1);
  });

  void test("closing the kernel ends what is under way", async (t) => {
    const { under, node } = await makePair(t, make);
    const pending = Promise.allSettled([node.links(), node.routes(), node.addresses()]);
    under.kernel.close();
    for (const outcome of await pending) {
      if (outcome.status === "rejected") assert.ok(faultOf("agent-stopping", "kernel-refused")(outcome.reason));
    }
  });
}

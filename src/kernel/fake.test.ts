// The fake kernel under the kernel contract, and what only the fake has: failures and damage at will.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { testKernel } from "../../test/kernel.contract.ts";
import { applyOk, codes, faultOf, hostMac, ip, pairOp } from "../../test/kernel-stage.ts";
import { connection } from "../../test/conntrack-entries.ts";
import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import type { KernelChange } from "./contract.ts";
import { createFakeKernel } from "./fake.ts";

testKernel("fake kernel", async (t) => {
  const kernel = createFakeKernel();
  let made = 0;
  const podNetns = (): string => {
    made += 1;
    const path = `/run/netns/pod-${made}`;
    kernel.addNetns(path);
    return path;
  };
  t.after(() => kernel.close());
  return {
    kernel,
    podNetns,
    removeNetns: (path) => kernel.removeNetns(path),
    track: async (connections) => {
      for (const connection of connections) kernel.track(connection);
    },
    disturbNftables: () =>
      kernel.addForwardChain({ family: "inet", table: "other", chain: "forward", policy: "accept" }),
    damageMasquerade: (how) => kernel.damageMasquerade(how),
    damagePolicy: (how) => kernel.damagePolicy(how),
    addForwardChain: (chain) => kernel.addForwardChain(chain),
    logPacket: (outcome, destination, destinationPort) => {
      const source = destination.includes(":") ? ip("::1") : ip("127.0.0.1");
      const head = { source, destination, protocol: 17, sourcePort: 40_000, destinationPort };
      kernel.logPacket({ what: "packet", outcome, outLink: 1, head });
    },
    attachTcx: async (name) => {
      const takeOff = kernel.attachTcx(present(await kernel.node.link(name), name).index);
      return async () => takeOff();
    },
    loseChanges: () => kernel.loseChanges(),
  };
});

void describe("fake kernel: failures at will", () => {
  const lost = new Fault("kernel-busy", "lost");

  void test("an operation fails once, without effect or after it", async () => {
    const kernel = createFakeKernel();
    kernel.addNetns("pod");
    const pod = kernel.openNetns("pod");
    kernel.failNext("link.addVeth", lost);
    kernel.failNext("link.addVeth", lost, "all was done");
    assert.deepEqual(await codes(kernel.node, [pairOp(pod)]), ["kernel-busy"]);
    assert.equal(await kernel.node.link("fl0"), undefined);
    assert.deepEqual(await codes(kernel.node, [pairOp(pod)]), ["kernel-busy"]);
    assert.equal((await kernel.node.link("fl0"))?.kind, "veth");
    assert.deepEqual(await codes(kernel.node, [pairOp(pod, "fl1", "eth1")]), ["ok"]);
  });

  void test("calls fail too: opening, reading, settings, the guard", async () => {
    const kernel = createFakeKernel();
    kernel.addNetns("pod");
    kernel.failNext("netns.open", lost);
    assert.throws(() => kernel.openNetns("pod"), faultOf("kernel-busy"));
    const pod = kernel.openNetns("pod");
    kernel.failNext("netns.read", lost);
    await assert.rejects(pod.links(), faultOf("kernel-busy"));
    assert.equal((await pod.links()).length, 1);
    kernel.failNext("sysctl.write", lost, "all was done");
    await assert.rejects(pod.writeSysctls({ "ipv4/ip_forward": "1" }), faultOf("kernel-busy"));
    assert.deepEqual(await pod.readSysctls(["ipv4/ip_forward"]), ["1"]);
    const entry = { link: "fl0", address: ip("10.0.0.1") };
    await kernel.guard.ensure([]);
    kernel.failNext("guard.admit", lost);
    kernel.failNext("guard.admit", lost, "all was done");
    await assert.rejects(kernel.guard.admit([entry]), faultOf("kernel-busy"));
    assert.deepEqual(await kernel.guard.list(), []);
    await assert.rejects(kernel.guard.admit([entry]), faultOf("kernel-busy"));
    assert.deepEqual(await kernel.guard.list(), [entry]);
  });

  void test("connections are not forgotten, or forgotten without a word", async () => {
    const kernel = createFakeKernel();
    const [pod, outside] = [ip("10.0.0.1"), ip("192.0.2.9")];
    kernel.track(connection(17, { source: pod, destination: outside, sourcePort: 1, destinationPort: 53 }));
    kernel.failNext("conntrack.forget", lost);
    kernel.failNext("conntrack.forget", lost, "all was done");
    kernel.failNext("conntrack.list", lost);
    await assert.rejects(kernel.conntrack.forget([pod]), faultOf("kernel-busy"));
    await assert.rejects(kernel.conntrack.list([pod]), faultOf("kernel-busy"));
    assert.equal((await kernel.conntrack.list([pod])).length, 1);
    await assert.rejects(kernel.conntrack.forget([pod]), faultOf("kernel-busy"));
    assert.deepEqual(await kernel.conntrack.list([pod]), []);
  });

  void test("an operation that fails after it was done is told to those who watch", async () => {
    const kernel = createFakeKernel();
    const heard: KernelChange[] = [];
    kernel.watch((change) => heard.push(change));
    kernel.failNext("link.set", lost);
    kernel.failNext("link.set", lost, "all was done");
    await codes(kernel.node, [{ op: "link.set", link: 1, group: 7 }]);
    assert.deepEqual(heard, []);
    await codes(kernel.node, [{ op: "link.set", link: 1, group: 7 }]);
    assert.deepEqual(heard, [{ what: "link", index: 1, removed: false }]);
  });

  void test("more changes at once than can wait are lost", async () => {
    const kernel = createFakeKernel();
    const heard: KernelChange[] = [];
    kernel.watch((change) => heard.push(change));
    const addRule = (priority: number) => ({ op: "rule.add", rule: { family: 4, priority, table: 100 } }) as const;
    await applyOk(
      kernel.node,
      Array.from({ length: 1025 }, (_, n) => addRule(1 + n)),
    );
    assert.deepEqual(heard, [{ what: "lost" }]);
    await applyOk(kernel.node, [addRule(5000)]);
    assert.deepEqual(heard.slice(1), [{ what: "rule", family: 4, priority: 5000, removed: false }]);
  });

  void test("a damaged guard is repaired by ensure, and only then", async () => {
    const { guard, damageGuard } = createFakeKernel();
    const entries = [{ link: "fl0", address: ip("10.0.0.1") }];
    await guard.ensure(entries);
    damageGuard("rules flushed");
    assert.deepEqual(await guard.list(), entries);
    assert.equal(await guard.ensure(entries), true);
    assert.equal(await guard.ensure(entries), false);
    damageGuard("table deleted");
    assert.equal(await guard.list(), undefined);
    await assert.rejects(guard.admit(entries), faultOf("kernel-missing"));
    assert.equal(await guard.ensure(entries), true);
  });

  void test("a device is there for uplinks, and is not removed", async () => {
    const kernel = createFakeKernel();
    const link = kernel.addDevice(kernel.node, { name: "eth0", mac: hostMac, mtu: 1500 });
    await applyOk(kernel.node, [
      { op: "link.set", link, up: true },
      { op: "address.add", link, address: ip("192.0.2.10"), prefix: 24 },
    ]);
    assert.equal((await kernel.node.link("eth0"))?.running, true);
    assert.deepEqual(await codes(kernel.node, [{ op: "link.remove", link }]), ["kernel-refused"]);
  });
});

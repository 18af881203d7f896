// What every Kernel does, the real one and the fake: each operation, observation and error of src/kernel/contract.ts, written once.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { present } from "../src/base/assert.ts";
import type { Link, Op } from "../src/kernel/contract.ts";
import { linkLocalOf } from "../src/net/mac.ts";
import { testChains } from "./kernel-chains.contract.ts";
import { testConntrack } from "./kernel-conntrack.contract.ts";
import { testFlowLog } from "./kernel-flow-log.contract.ts";
import { testGuard } from "./kernel-guard.contract.ts";
import { testMasquerade } from "./kernel-masquerade.contract.ts";
import { testPolicy, testPolicyTable } from "./kernel-policy.contract.ts";
import { testEnd, testLists, testSysctls } from "./kernel-lists.contract.ts";
import { type MakeKernel, applyOk, codes, faultOf, hostMac, makePair, pairOp, podMac } from "./kernel-stage.ts";
import { until } from "./until.ts";
import { testWatch, testWatchers } from "./kernel-watch.contract.ts";
import { testAddresses, testNeighbours, testRoutes, testRules } from "./kernel-state.contract.ts";

/** Runs the whole contract; `make` gives a fresh kernel with an empty node namespace (loopback down) and closes it after the test. */
export function testKernel(name: string, make: MakeKernel): void {
  void describe(`${name}: namespaces`, () => testNamespaces(make));
  void describe(`${name}: links`, () => testLinks(make));
  void describe(`${name}: link changes`, () => testLinkChanges(make));
  void describe(`${name}: addresses`, () => testAddresses(make));
  void describe(`${name}: routes`, () => testRoutes(make));
  void describe(`${name}: rules`, () => testRules(make));
  void describe(`${name}: neighbours`, () => testNeighbours(make));
  void describe(`${name}: lists of operations`, () => testLists(make));
  void describe(`${name}: sysctls`, () => testSysctls(make));
  void describe(`${name}: end`, () => testEnd(make));
  void describe(`${name}: guard`, () => testGuard(make));
  void describe(`${name}: masquerade`, () => testMasquerade(make));
  void describe(`${name}: policy`, () => testPolicy(make));
  void describe(`${name}: policy table`, () => testPolicyTable(make));
  void describe(`${name}: chains`, () => testChains(make));
  void describe(`${name}: connections`, () => testConntrack(make));
  void describe(`${name}: flow log`, () => testFlowLog(make));
  void describe(`${name}: watching`, () => testWatch(make));
  void describe(`${name}: watchers`, () => testWatchers(make));
}

function testNamespaces(make: MakeKernel): void {
  void test("a pair has the indexes that were chosen for it; one that is taken is refused and nothing is made", async (t) => {
    const { kernel, podNetns } = await make(t);
    const pod = kernel.openNetns(podNetns());
    const chosen = (name: string, index: number, peerIndex: number): Op => {
      const op = pairOp(pod, name, name);
      assert.ok(op.op === "link.addVeth");
      return { ...op, index, peer: { ...op.peer, index: peerIndex } };
    };
    const [made] = await applyOk(kernel.node, [chosen("fl0", 1_000_001, 1_000_002)]);
    assert.deepEqual([made?.index, made?.peerIndex], [1_000_001, 1_000_002]);
    assert.equal((await pod.link("fl0"))?.index, 1_000_002);
    assert.deepEqual(await codes(kernel.node, [chosen("fl1", 1_000_001, 1_000_004)]), ["kernel-exists"]);
    assert.deepEqual(await codes(kernel.node, [chosen("fl1", 1_000_003, 1_000_002)]), ["kernel-busy"]);
    for (const netns of [kernel.node, pod]) assert.equal(await netns.link("fl1"), undefined);
    const [next] = await applyOk(kernel.node, [pairOp(pod, "fl2", "fl2")]);
    assert.ok((next?.index ?? Infinity) < 1_000_000, "the kernel's own count goes on where it was");
  });

  void test("a namespace has one id whatever opens it", async (t) => {
    const { kernel, podNetns } = await make(t);
    const path = podNetns();
    const once = kernel.openNetns(path);
    const twice = kernel.openNetns(path);
    const other = kernel.openNetns(podNetns());
    assert.match(once.id, /^\d+:\d+$/);
    assert.equal(once.id, twice.id);
    assert.equal(new Set([once.id, other.id, kernel.node.id]).size, 3);
  });

  void test("a path to something else is no namespace", async (t) => {
    const { kernel } = await make(t);
    for (const path of ["/run/netns/fltest-no-such", "/proc/self/status", "/", "/proc/self/ns/uts"]) {
      assert.throws(() => kernel.openNetns(path), faultOf("netns-missing"), path);
    }
  });

  void test("a new namespace has a loopback that is down, and the kernel's rules", async (t) => {
    const { kernel, podNetns } = await make(t);
    const pod = kernel.openNetns(podNetns());
    const loopback = { index: 1, name: "lo", kind: "", mtu: 65536, up: false, running: false, group: 0, alias: "" };
    assert.deepEqual(await pod.link(1), { ...loopback, mac: "00:00:00:00:00:00" });
    assert.deepEqual(await pod.links(), [await pod.link("lo")]);
    assert.deepEqual(await pod.addresses(), []);
    assert.deepEqual(await pod.routes(), []);
    assert.deepEqual(await pod.neighbours(), []);
    assert.deepEqual(await pod.rules(), [
      { family: 4, priority: 0, table: 255, protocol: 2 },
      { family: 4, priority: 32766, table: 254, protocol: 2 },
      { family: 4, priority: 32767, table: 253, protocol: 2 },
      { family: 6, priority: 0, table: 255, protocol: 2 },
      { family: 6, priority: 32766, table: 254, protocol: 2 },
    ]);
  });

  void test("a loopback that comes up has its two addresses", async (t) => {
    const { kernel } = await make(t);
    await applyOk(kernel.node, [{ op: "link.set", link: "lo", up: true }]);
    assert.deepEqual(await kernel.node.addresses(), [
      { link: 1, address: "127.0.0.1", prefix: 8, scope: "host", tentative: false },
      { link: 1, address: "::1", prefix: 128, scope: "host", tentative: false },
    ]);
  });
}

function testLinks(make: MakeKernel): void {
  void test("a veth pair is made as asked, down, and each end knows the other", async (t) => {
    const { node, pod, index, peerIndex } = await makePair(t, make, "down");
    const host: Link = {
      index,
      name: "fl0",
      kind: "veth",
      mac: hostMac,
      mtu: 1450,
      up: false,
      running: false,
      group: 100,
      alias: "",
      peerIndex,
    };
    const peer: Link = { ...host, index: peerIndex, name: "eth0", mac: podMac, mtu: 1400, group: 0, peerIndex: index };
    assert.deepEqual(await node.link(index), host);
    assert.deepEqual(await node.link("fl0"), host);
    assert.deepEqual((await node.links()).at(-1), host);
    assert.deepEqual(await pod.link("eth0"), peer);
    assert.deepEqual((await pod.links()).at(-1), peer);
  });

  void test("programs that tcx attached are seen on the links that are asked for, in either direction, until they are taken off", async (t) => {
    const { under, node, pod, index } = await makePair(t, make);
    await applyOk(node, [pairOp(pod, "fl1", "eth1")]);
    const other = present(await node.link("fl1"), "fl1").index;
    const gone = 1_000_000;
    const seen = (...links: number[]): Promise<number[] | undefined> => node.tcxPrograms(links);
    assert.deepEqual(await seen(), []);
    assert.deepEqual(await seen(other, gone, index), []);
    for (const direction of ["ingress", "egress"] as const) {
      const takeOff = await under.attachTcx("fl0", direction);
      assert.deepEqual(await seen(other, gone, index), [index], direction);
      assert.deepEqual(await seen(other), [], "of others nothing is told");
      assert.deepEqual(await pod.tcxPrograms([index]), [], "a link is that of its namespace");
      await takeOff();
      assert.deepEqual(await seen(other, gone, index), [], direction);
    }
  });

  void test("a link that is not there is undefined", async (t) => {
    const { kernel } = await make(t);
    assert.equal(await kernel.node.link("fl0"), undefined);
    assert.equal(await kernel.node.link(4711), undefined);
  });

  void test("a name that is taken, at either end, leaves no half pair", async (t) => {
    const { node, pod, under } = await makePair(t, make, "down");
    const before = [await node.links(), await pod.links()];
    assert.deepEqual(await codes(node, [pairOp(pod, "fl0", "eth1")]), ["kernel-exists"]);
    assert.deepEqual(await codes(node, [pairOp(pod, "fl1", "eth0")]), ["kernel-exists"]);
    assert.deepEqual([await node.links(), await pod.links()], before);
    const [result] = await node.apply([pairOp(pod, "fl0", "eth1")]);
    assert.match(present(result?.fault, "fault").message, /link\.addVeth fl0 with peer eth1.*EEXIST/);
    assert.equal(result?.index, undefined);
    await applyOk(node, [pairOp(under.kernel.openNetns(under.podNetns()), "fl1", "eth0")]);
  });

  void test("removing one end removes the other; removing what is gone succeeds", async (t) => {
    const { node, pod, index } = await makePair(t, make);
    await applyOk(node, [{ op: "link.remove", link: "fl0" }]);
    assert.equal(await node.link(index), undefined);
    assert.equal(await pod.link("eth0"), undefined);
    await applyOk(node, [
      { op: "link.remove", link: "fl0" },
      { op: "link.remove", link: index },
    ]);
    assert.deepEqual(await codes(node, [{ op: "link.remove", link: 1 }]), ["kernel-refused"]);
  });

  void test("a group is removed at once, and nothing but the group", async (t) => {
    const { node, pod, index } = await makePair(t, make);
    await applyOk(node, [pairOp(pod, "fl1", "eth1"), pairOp(pod, "fl2", "eth2")]);
    await applyOk(node, [
      { op: "link.set", link: index, group: 99 },
      { op: "link.set", link: "fl1", group: 99 },
      { op: "link.removeGroup", group: 99 },
      { op: "link.removeGroup", group: 99 },
    ]);
    assert.deepEqual(
      (await node.links()).map(({ name }) => name),
      ["lo", "fl2"],
    );
    assert.deepEqual(
      (await pod.links()).map(({ name }) => name),
      ["lo", "eth2"],
    );
  });

  void test("group 0 is refused before anything is done", async (t) => {
    const { node } = await makePair(t, make);
    const ops: Op[] = [
      { op: "link.set", link: "fl0", alias: "touched" },
      { op: "link.removeGroup", group: 0 },
    ];
    await assert.rejects(node.apply(ops), faultOf("kernel-refused"));
    assert.equal((await node.link("fl0"))?.alias, "");
  });
}

function testLinkChanges(make: MakeKernel): void {
  void test("carrier needs both ends up", async (t) => {
    const { node, pod, index, peerIndex } = await makePair(t, make, "down");
    const states = async () => {
      const [host, peer] = [await node.link(index), await pod.link(peerIndex)];
      return [host?.up, host?.running, peer?.up, peer?.running];
    };
    await applyOk(node, [{ op: "link.set", link: index, up: true }]);
    assert.deepEqual(await states(), [true, false, false, false]);
    await applyOk(pod, [{ op: "link.set", link: "eth0", up: true }]);
    assert.deepEqual(await states(), [true, true, true, true]);
    await applyOk(node, [{ op: "link.set", link: index, up: false }]);
    assert.deepEqual(await states(), [false, false, true, false]);
  });

  void test("a link that was up before its other end carries once the kernel has looked; a missing one is not waited for", async (t) => {
    const { node, pod, index } = await makePair(t, make, "down");
    assert.equal(await node.carries(index), false);
    await applyOk(node, [{ op: "link.set", link: index, up: true }]);
    assert.equal(await node.carries("fl0"), false);
    await applyOk(pod, [{ op: "link.set", link: "eth0", up: true }]);
    await until("it carries", () => node.carries(index));
    await applyOk(pod, [{ op: "link.set", link: "eth0", up: false }]);
    await until("it carries no more", async () => !(await node.carries(index)));
    assert.equal(await node.carries("nowhere"), true);
  });

  void test("several properties change in one operation", async (t) => {
    const { node, index } = await makePair(t, make, "down");
    await applyOk(node, [
      {
        op: "link.set",
        link: index,
        rename: "fl9",
        group: 101,
        mtu: 1300,
        mac: podMac,
        alias: "a pod, ünd so",
        up: true,
      },
    ]);
    const { name, group, mtu, mac, alias, up } = present(await node.link(index), "link");
    assert.deepEqual(
      { name, group, mtu, mac, alias, up },
      { name: "fl9", group: 101, mtu: 1300, mac: podMac, alias: "a pod, ünd so", up: true },
    );
    assert.equal(await node.link("fl0"), undefined);
    await applyOk(node, [{ op: "link.set", link: index, alias: "" }]);
    assert.equal((await node.link(index))?.alias, "");
  });

  void test("a link is renamed by its name too, and taken down by the same operation", async (t) => {
    const { node, index } = await makePair(t, make);
    await applyOk(node, [
      { op: "link.set", link: "fl0", rename: "flx", up: false, group: 99 },
      { op: "link.set", link: "flx", rename: "fly" },
    ]);
    const { name, up, group } = present(await node.link(index), "link");
    assert.deepEqual({ name, up, group }, { name: "fly", up: false, group: 99 });
    assert.deepEqual(await codes(node, [{ op: "link.set", link: "fl0", rename: "flz" }]), ["kernel-missing"]);
  });

  void test("a name that is taken, a link that is missing, an MTU out of range", async (t) => {
    const { node, pod } = await makePair(t, make, "down");
    await applyOk(node, [pairOp(pod, "fl1", "eth1")]);
    const results = await codes(node, [
      { op: "link.set", link: "fl1", rename: "fl0" },
      { op: "link.set", link: 4711, up: true },
      { op: "link.set", link: "fl7", up: true },
      { op: "link.set", link: "fl0", mtu: 20 },
    ]);
    assert.deepEqual(results, ["kernel-exists", "kernel-missing", "kernel-missing", "kernel-refused"]);
    assert.deepEqual(
      (await node.links()).map(({ name }) => name),
      ["lo", "fl0", "fl1"],
    );
  });

  void test("an alias has 255 bytes at most, which is known before anything is done", async (t) => {
    const { node } = await makePair(t, make, "down");
    const longest = `${"x".repeat(253)}ü`;
    await applyOk(node, [{ op: "link.set", link: "fl0", alias: longest }]);
    assert.equal((await node.link("fl0"))?.alias, longest);
    const ops: Op[] = [
      { op: "link.set", link: "fl0", group: 7 },
      { op: "link.set", link: "fl0", alias: `${longest}x` },
    ];
    await assert.rejects(
      node.apply(ops),
      (error: unknown) => faultOf("kernel-refused")(error) && /256 bytes/.test(String(error)),
    );
    assert.equal((await node.link("fl0"))?.group, 100);
  });

  void test("a link-local address comes with the link, unless none is wanted", async (t) => {
    const { node, pod, peerIndex } = await makePair(t, make, "down");
    await applyOk(node, [{ op: "link.set", link: "fl0", up: true }]);
    await applyOk(pod, [{ op: "link.set", link: "eth0", linkLocal: "none", up: true }]);
    await until("the host's end has its address", async () => (await node.addresses()).length > 0);
    const own = await node.addresses();
    assert.deepEqual(
      own.map(({ address, scope }) => [address, scope]),
      [[linkLocalOf(hostMac), "link"]],
    );
    assert.deepEqual(await pod.addresses(), []);
    await applyOk(pod, [
      { op: "link.set", link: "eth0", up: false },
      { op: "link.set", link: "eth0", linkLocal: "eui64", up: true },
    ]);
    await until("the pod's end has its address", async () => (await pod.addresses()).length > 0);
    const [peer] = await pod.addresses();
    assert.deepEqual([peer?.link, peer?.address, peer?.prefix], [peerIndex, linkLocalOf(podMac), 64]);
  });
}

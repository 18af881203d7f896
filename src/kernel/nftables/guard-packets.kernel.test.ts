// The guard against real packets: a pod behind a veth, honest and forged, IPv4 and IPv6, and neighbour discovery that must pass.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { makeNetns, type TestNetns } from "../../../test/netns.ts";
import { until } from "../../../test/until.ts";
import { present } from "../../base/assert.ts";
import { parseIp } from "../../net/ip.ts";
import { loadAddon } from "../addon.ts";
import type { Guard, GuardEntry } from "../contract.ts";
import { createSequence } from "../netlink/message.ts";
import { createGuard } from "./guard.ts";

/** As long as a link name can be: a guard that cut it would let nothing pass. */
const hostLink = "fl0123456789abc";
const node4 = "10.0.0.1";
const node6 = "fd00:1::1";
const pod4 = "10.244.0.11";
const pod6 = "fd00:10::11";
const forged4 = "10.244.0.99";
const forged6 = "fd00:10::99";

const entry = (link: string, text: string): GuardEntry => ({ link, address: present(parseIp(text), text) });
const podEntries = [entry(hostLink, pod4), entry(hostLink, pod6)];

/** Counts, right behind the guard, the discovery messages that passed it. */
const seenTable = `table ip6 seen {
  counter dad {}
  counter neighbour {}
  counter router {}
  counter listener {}
  chain behind {
    type filter hook prerouting priority -290
    icmpv6 type nd-neighbor-solicit ip6 saddr :: counter name dad
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 saddr != :: counter name neighbour
    icmpv6 type nd-router-solicit counter name router
    icmpv6 type mld2-listener-report counter name listener
  }
}`;

/** A node that routes to one pod; both would answer to the forged addresses too, so only the guard can stop them. */
async function makeNodeAndPod(t: TestContext): Promise<{ node: TestNetns; pod: TestNetns }> {
  const [node, pod] = [makeNetns(t), makeNetns(t)];
  node.run("nft", seenTable);
  node.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0");
  node.run("ip", "link", "add", hostLink, "type", "veth", "peer", "name", "eth0", "netns", pod.name);
  const commands: [TestNetns, string][] = [
    [node, "link set lo up"],
    [node, `link set ${hostLink} up`],
    [node, `address add ${node4}/32 dev lo`],
    [node, `address add ${node6}/128 dev ${hostLink} nodad`], // IPv6 answers solicitations only on the link that has the address
    [pod, "link set lo up"],
    [pod, "link set eth0 up"],
    [pod, `address add ${pod4}/32 dev eth0`],
    [pod, `address add ${pod6}/128 dev eth0 nodad`],
    [pod, `address add ${forged4}/32 dev eth0`],
    [pod, `address add ${forged6}/128 dev eth0 nodad`],
    [pod, `route add ${node4} dev eth0`],
    [pod, `-6 route add ${node6} dev eth0`],
    ...[pod4, forged4].map((ip): [TestNetns, string] => [node, `route add ${ip} dev ${hostLink}`]),
    ...[pod6, forged6].map((ip): [TestNetns, string] => [node, `-6 route add ${ip} dev ${hostLink}`]),
  ];
  for (const [netns, command] of commands) netns.run("ip", ...command.split(" "));
  await until("link-local addresses are usable", () =>
    [node, pod].every((netns) => !netns.run("ip", "-6", "address").includes("tentative")),
  );
  return { node, pod };
}

function openGuard(t: TestContext, node: TestNetns): Guard {
  const addon = loadAddon();
  const namespace = addon.openNetns(node.path);
  const socket = addon.openNetlink(namespace, 12);
  t.after(() => {
    addon.close(socket);
    addon.close(namespace);
  });
  return createGuard({ call: (request) => addon.call(1, socket, request, 10_000), nextSequence: createSequence() });
}

const pingsSent = 3;

/** How many of three pings from `source` to `target` are answered. */
function pings(pod: TestNetns, source: string, target: string): number {
  const command = `ping -n -c ${pingsSent} -i 0.05 -W 0.3 -I ${source} ${target} || true`;
  return Number(/(\d+) received/.exec(pod.run("sh", "-c", command))?.[1] ?? assert.fail("ping prints its count"));
}

function counters(node: TestNetns, family: string, table: string): Record<string, number> {
  const text = node.run("nft", "list", "counters", "table", family, table);
  const found = text.matchAll(/counter (\w+) \{\s*packets (\d+)/g);
  return Object.fromEntries([...found].map(([, name = "", packets]) => [name, Number(packets)]));
}

const spoofed = (node: TestNetns): number => present(counters(node, "inet", "fairlead")["spoof"], "the counter");

void test("honest packets pass, forged ones are dropped and counted", async (t) => {
  const { node, pod } = await makeNodeAndPod(t);
  const guard = openGuard(t, node);
  assert.equal(pings(pod, forged4, node4), pingsSent, "without a guard forged IPv4 passes");
  assert.equal(pings(pod, forged6, node6), pingsSent, "without a guard forged IPv6 passes");

  await guard.ensure([...podEntries, entry("flother", forged4), entry("flother", forged6)]);
  assert.equal(pings(pod, pod4, node4), pingsSent, "honest IPv4");
  assert.equal(pings(pod, pod6, node6), pingsSent, "honest IPv6");
  assert.equal(spoofed(node), 0);

  assert.equal(pings(pod, forged4, node4), 0, "an address of another link, IPv4");
  assert.equal(spoofed(node), pingsSent);
  assert.equal(pings(pod, forged6, node6), 0, "an address of another link, IPv6");
  assert.ok(spoofed(node) >= 2 * pingsSent);

  await guard.withdraw([entry(hostLink, pod4)]);
  assert.equal(pings(pod, pod4, node4), 0, "an address withdrawn");
  await guard.admit([entry(hostLink, forged4)]);
  assert.equal(pings(pod, forged4, node4), pingsSent, "an address admitted");
});

void test("neighbour, router and listener discovery pass with an empty list; nothing else from link-local does", async (t) => {
  const { node, pod } = await makeNodeAndPod(t);
  const guard = openGuard(t, node);
  pod.run("ip", "link", "set", "eth0", "down");
  await guard.ensure([]);
  node.run("nft", "reset", "counters", "table", "ip6", "seen");
  pod.run("ip", "link", "set", "eth0", "up");
  await until("address detection, router solicitation and listener reports were seen", () => {
    const { dad = 0, router = 0, listener = 0 } = counters(node, "ip6", "seen");
    return dad > 0 && router > 0 && listener > 0;
  });
  assert.equal(spoofed(node), 0);

  const nodeLinkLocal = linkLocalOf(node, hostLink);
  const before = counters(node, "ip6", "seen")["neighbour"] ?? 0;
  assert.equal(pings(pod, "eth0", `${nodeLinkLocal}%eth0`), 0, "an echo request from a link-local address");
  assert.equal(spoofed(node), pingsSent, "only the echo requests were dropped");
  assert.ok((counters(node, "ip6", "seen")["neighbour"] ?? 0) > before, "the node's address was resolved");
});

/** The link-local address of a link of `netns`. */
function linkLocalOf(netns: TestNetns, link: string): string {
  const shown = netns.run("ip", "-6", "address", "show", "dev", link, "scope", "link");
  return present(/inet6 (fe80:[0-9a-f:]+)\/64/.exec(shown)?.[1], `link-local address of ${link}`);
}

void test("a pod is found by its link-local address: its advertisements pass", async (t) => {
  const { node, pod } = await makeNodeAndPod(t);
  await openGuard(t, node).ensure([]);
  node.run("ip", "-6", "neighbour", "flush", "dev", hostLink);
  const address = linkLocalOf(pod, "eth0");
  node.run("sh", "-c", `ping -n -c 1 -W 0.3 ${address}%${hostLink} || true`); // its answer is no discovery, and is dropped
  assert.match(
    node.run("ip", "-6", "neighbour", "show", address, "dev", hostLink),
    /lladdr .* (REACHABLE|STALE|DELAY)/,
  );
});

/** One neighbour solicitation from the pod's link-local address to any address: no program of its own would send it. */
const solicitation = `
import socket, sys
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
raw.bind((sys.argv[1], 0, 0, socket.if_nametoindex("eth0")))
raw.sendto(bytes([135, 0, 0, 0, 0, 0, 0, 0]) + bytes(16), (sys.argv[2], 0))
`;

void test("discovery that would leave the link is dropped", async (t) => {
  const { node, pod } = await makeNodeAndPod(t);
  await openGuard(t, node).ensure([]);
  const before = spoofed(node);
  pod.run("python3", "-c", solicitation, linkLocalOf(pod, "eth0"), node6);
  await until("it is dropped and counted", () => spoofed(node) === before + 1);
});

/** Counts what connection tracking has been told of, right behind it. */
const trackedTable = `table ip tracked {
  counter forged {}
  chain behind {
    type filter hook prerouting priority -190
    ip saddr ${forged4} ct state new counter name forged
  }
}`;

void test("a forged packet is dropped before connection tracking sees it", async (t) => {
  const { node, pod } = await makeNodeAndPod(t);
  node.run("nft", trackedTable);
  await openGuard(t, node).ensure(podEntries);
  assert.equal(pings(pod, forged4, node4), 0);
  assert.deepEqual(counters(node, "ip", "tracked"), { forged: 0 });
});

void test("links that are not ours are not guarded", async (t) => {
  const { node, pod } = await makeNodeAndPod(t);
  await openGuard(t, node).ensure([]);
  assert.equal(pings(pod, pod4, node4), 0);
  node.run("ip", "link", "set", hostLink, "down");
  node.run("ip", "link", "set", hostLink, "name", "eth1");
  node.run("ip", "link", "set", "eth1", "up");
  node.run("ip", "route", "add", pod4, "dev", "eth1");
  assert.equal(pings(pod, pod4, node4), pingsSent);
});

// Connection tracking of the real kernel: real translated flows, big tables, zones, and entries that others change meanwhile.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { connection, openTracker } from "../../../test/conntrack-entries.ts";
import { cidr, ip } from "../../../test/kernel-stage.ts";
import { type TestNetns, makeNetns } from "../../../test/netns.ts";
import { until } from "../../../test/until.ts";
import { addressAt } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import { type Addon, loadAddon } from "../addon.ts";
import type { Connection, Conntrack } from "../contract.ts";
import { createConntrack } from "./conntrack.ts";

const udp = 17;
const pod = ip("10.4.1.7");
const outside = ip("192.0.2.9");
const pod6 = ip("fd00:10::7");
const outside6 = ip("2001:db8::9");

function open(t: TestContext, netns: TestNetns, change: Partial<Addon> = {}): Conntrack {
  const addon = loadAddon();
  const opened = addon.openNetns(netns.path);
  t.after(() => addon.close(opened));
  return createConntrack({ addon: { ...addon, ...change }, netns: opened, mustBeOpen: () => undefined });
}

/** What conntrack(8) lists, a line an entry. */
function listed(netns: TestNetns): string[] {
  const list = (family: string): string[] => netns.run("conntrack", "-L", "-f", family).split("\n");
  return ["ipv4", "ipv6"].flatMap(list).filter((line) => line !== "");
}

function* flows(count: number, source: (n: number) => Ip, destination: Ip): Generator<Connection> {
  for (let n = 0; n < count; n += 1) {
    const ends = { source: source(n), destination, sourcePort: 1024 + (n % 60_000), destinationPort: 1 + (n >> 14) };
    yield connection(udp, ends);
  }
}

const natTable = `
table ip nat {
  chain pre { type nat hook prerouting priority -100; ip daddr 10.96.0.1 dnat to 10.4.1.7; }
  chain post { type nat hook postrouting priority 100; oifname "out" ip saddr 10.4.1.7 masquerade; }
}
table ip6 nat {
  chain pre { type nat hook prerouting priority -100; ip6 daddr fd00:96::1 dnat to fd00:10::7; }
  chain post { type nat hook postrouting priority 100; oifname "out" ip6 saddr fd00:10::7 masquerade; }
}`;

/** A node between a pod and the outside, which masquerades the pod and translates a service to it. */
async function makeNode(t: TestContext): Promise<Record<"node" | "inside" | "beyond", TestNetns>> {
  const [node, inside, beyond] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  node.run("nft", natTable);
  node.run("ip", "link", "add", "fl0", "type", "veth", "peer", "name", "eth0", "netns", inside.name);
  node.run("ip", "link", "add", "out", "type", "veth", "peer", "name", "eth0", "netns", beyond.name);
  node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  const setUp = (netns: TestNetns, link: string, ...addresses: string[]): void => {
    netns.run("ip", "link", "set", link, "up");
    for (const address of addresses) {
      netns.run("ip", "address", "add", address, "dev", link, ...(address.includes(":") ? ["nodad"] : []));
    }
  };
  setUp(node, "fl0", "10.4.1.1/24", "fd00:10::1/64");
  setUp(node, "out", "192.0.2.1/24", "2001:db8::1/64");
  setUp(inside, "eth0", `${pod}/24`, `${pod6}/64`);
  setUp(beyond, "eth0", `${outside}/24`, `${outside6}/64`);
  for (const [netns, gateway4, gateway6] of [
    [inside, "10.4.1.1", "fd00:10::1"],
    [beyond, "192.0.2.1", "2001:db8::1"],
  ] as const) {
    netns.run("ip", "route", "add", "default", "via", gateway4);
    netns.run("ip", "-6", "route", "add", "default", "via", gateway6);
  }
  await until("both ways are open", () => {
    const ping = (netns: TestNetns, target: string) =>
      netns.run("sh", "-c", `ping -n -c 1 -W 1 ${target} >/dev/null && echo yes || true`).includes("yes");
    return ping(inside, "10.4.1.1") && ping(inside, "fd00:10::1") && ping(beyond, "2001:db8::1");
  });
  node.run("conntrack", "-F");
  return { node, inside, beyond };
}

const sendUdp = (netns: TestNetns, target: string, port: number): string =>
  netns.run("bash", "-c", `echo hello >/dev/udp/${target}/${port}`);

void test("real flows: masqueraded, to a service, by UDP and ICMP, of both families", async (t) => {
  const { node, inside, beyond } = await makeNode(t);
  const conntrack = open(t, node);
  const probes: [TestNetns, Record<4 | 6, string>, number][] = [
    [inside, { 4: outside, 6: outside6 }, 4001],
    [beyond, { 4: "10.96.0.1", 6: "fd00:96::1" }, 4002],
  ];
  for (const [from, targets, port] of probes) {
    for (const target of [targets[4], targets[6]]) {
      sendUdp(from, target, port);
      from.run("ping", "-n", "-c", "1", "-W", "5", target);
    }
  }
  sendUdp(beyond, "192.0.2.1", 4003); // to the node itself: nothing of the pod's
  const masqueraded = (await conntrack.list([pod])).find(
    ({ protocol, original }) => protocol === udp && original.destinationPort === 4001,
  );
  assert.deepEqual(
    [masqueraded?.original.source, masqueraded?.reply.source, masqueraded?.reply.destination],
    [pod, outside, "192.0.2.1"],
  );
  const toService = (await conntrack.list([pod6])).find(
    ({ protocol, original }) => protocol === udp && original.destinationPort === 4002,
  );
  assert.deepEqual(
    [toService?.original.destination, toService?.reply.source, toService?.reply.destination],
    ["fd00:96::1", pod6, outside6],
  );
  const ours = listed(node).filter((line) => line.includes(`=${pod} `) || line.includes(`=${pod6} `));
  assert.ok(ours.length >= 8, ours.join("\n"));
  assert.equal(await conntrack.forget([pod, pod6]), ours.length);
  const rest = listed(node);
  assert.ok(!rest.some((line) => line.includes(`=${pod} `) || line.includes(`=${pod6} `)), rest.join("\n"));
  assert.ok(
    rest.some((line) => line.includes("dport=4003")),
    rest.join("\n"),
  );
  assert.equal(await conntrack.forget([pod, pod6]), 0);
});

void test("a big table is read once, in parts, and the event loop turns in between", async (t) => {
  const [node, elsewhere] = [makeNetns(t), makeNetns(t)];
  const pods = Array.from({ length: 64 }, (_, n) =>
    n < 32 ? addressAt(cidr("10.4.1.0/24"), BigInt(n)) : addressAt(cidr("fd00:10::/64"), BigInt(n)),
  );
  const strangers = addressAt.bind(undefined, cidr("10.9.0.0/16"));
  const track = openTracker(t, node.path);
  await track(flows(40_000, (n) => strangers(BigInt(n % 65_536)), outside));
  await track(flows(1000, (n) => pods[n % 32] ?? pod, outside));
  await track(flows(1000, (n) => pods[32 + (n % 32)] ?? pod6, outside6));
  await openTracker(t, elsewhere.path)(flows(100, (n) => pods[n % 32] ?? pod, outside));

  const addon = loadAddon();
  const lengths: number[] = [];
  const noted = async (part: Promise<Buffer>): Promise<Buffer> => {
    lengths.push((await part).length);
    return part;
  };
  const conntrack = open(t, node, {
    firstPart: (...call) => noted(addon.firstPart(...call)),
    nextPart: (...call) => noted(addon.nextPart(...call)),
  });
  let turns = 0;
  let running = true;
  const turn = (): void => {
    turns += 1;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  const gone = await conntrack.forget(pods);
  running = false;
  assert.equal(gone, 2000);
  assert.ok(lengths.length >= 20, "one pass, in parts");
  assert.ok(Math.max(...lengths) < 320 * 1024, String(lengths));
  assert.ok(turns >= lengths.length, `${turns} turns of the event loop for ${lengths.length} parts`);
  assert.match(node.run("conntrack", "-C"), /^40000\n/);
  assert.match(elsewhere.run("conntrack", "-C"), /^100\n/, "another namespace's entries are not the node's");
});

void test("entries of every zone are the pod's", async (t) => {
  const node = makeNetns(t);
  const ends = ["-p", "udp", "-s", pod, "-d", outside, "--dport", "53", "-t", "300"];
  const zones = [[], ["-w", "5"], ["--orig-zone", "6"], ["--reply-zone", "7"]];
  for (const [n, zone] of zones.entries()) node.run("conntrack", "-I", ...ends, "--sport", String(5353 + n), ...zone);
  const conntrack = open(t, node);
  assert.equal((await conntrack.list([pod])).length, 4);
  assert.equal(await conntrack.forget([pod]), 4);
  assert.deepEqual(listed(node), []);
});

void test("an entry that is gone before it is deleted does not count; one that took its place stays", async (t) => {
  const node = makeNetns(t);
  const track = openTracker(t, node.path);
  const [kept, replaced, lost] = [1, 2, 3].map((port) =>
    connection(udp, { source: pod, destination: outside, sourcePort: port, destinationPort: 53 }),
  ) as [Connection, Connection, Connection];
  const addon = loadAddon();
  const remove = (port: number) =>
    node.run("conntrack", "-D", "-p", "udp", "-s", pod, "-d", outside, "--sport", String(port), "--dport", "53");
  let interfered = false;
  const conntrack = open(t, node, {
    // Deletions are the only whole calls.
    call: async (...call) => {
      if (!interfered) {
        interfered = true;
        remove(2);
        remove(3);
        // The kernel gives an entry the place in memory, and so the id, of the one freed last: let another have it.
        await track(flows(64, () => ip("10.9.9.9"), outside));
        await track([replaced]);
      }
      return addon.call(...call);
    },
  });
  await track([kept, replaced, lost]);
  assert.equal(await conntrack.forget([pod]), 1);
  assert.ok(interfered);
  assert.deepEqual(await conntrack.list([pod]), [replaced]);
  assert.equal(await conntrack.forget([pod]), 1, "the new one, once it is asked for");
});

void test("while connections come and go nothing fails, and what was there all the time is found", async (t) => {
  const node = makeNetns(t);
  const track = openTracker(t, node.path);
  const conntrack = open(t, node);
  const lasting = [...flows(500, () => pod, outside)];
  await track(lasting);
  await track(flows(20_000, () => ip("10.9.9.9"), outside));
  const enough = new AbortController();
  const churn = (async () => {
    const other = ip("10.9.8.7");
    while (!enough.signal.aborted) {
      await track(flows(2000, () => other, outside));
      await conntrack.forget([other]);
    }
  })();
  for (let round = 0; round < 5; round += 1) {
    const found = await conntrack.list([pod]);
    const ports = new Set(found.map(({ original }) => original.sourcePort));
    assert.equal(ports.size, lasting.length);
    assert.equal(found.length, lasting.length, "each of them once");
  }
  assert.equal(await conntrack.forget([pod]), lasting.length);
  enough.abort();
  await churn;
});

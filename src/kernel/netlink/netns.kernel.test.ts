// Our reading of a namespace against iproute2's: of what iproute2 made, and of what we made.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { present } from "../../base/assert.ts";
import type { Netns, Op } from "../contract.ts";
import { type Cidr, cidrOf } from "../../net/cidr.ts";
import { type Ip, parseIp } from "../../net/ip.ts";
import { localMac } from "../../net/mac.ts";
import { type View, ipView, ourView } from "../../../test/ip-view.ts";
import { type TestNetns, makeNetns } from "../../../test/netns.ts";
import { loadAddon } from "../addon.ts";
import { type NetnsHandle, openNetns } from "./netns.ts";

const ip = (text: string): Ip => present(parseIp(text), text);

interface Stage {
  node: Netns;
  pod: Netns;
  nodeRun: TestNetns;
  podRun: TestNetns;
}

function makeStage(t: TestContext): Stage {
  const deps = { addon: loadAddon(), open: new Map<Netns, NetnsHandle>() };
  const [nodeRun, podRun] = [makeNetns(t), makeNetns(t)];
  t.after(() => {
    for (const netns of deps.open.keys()) netns.close();
  });
  return { node: openNetns(nodeRun.path, deps), pod: openNetns(podRun.path, deps), nodeRun, podRun };
}

/** Everything that iproute2 can make here and that looks different on the wire. */
const zoo = `
link set lo up
link add br0 type bridge
link set br0 up
addr add 10.9.0.1/24 brd + dev br0
link add v0 type veth peer name v1
link set v0 up
link set v1 up
link add v2 alias strange group 7 type veth peer name p0 netns POD
link property add dev v2 altname otherv2
link add link v1 name mv type macvlan
link add vx type vxlan id 5 dstport 4789 remote 10.9.0.9 dev br0
addr add 10.0.0.1/24 dev v0
addr add 10.0.0.2 peer 10.0.0.9/32 dev v0
addr add 192.0.2.1/32 dev lo scope host
addr add 192.0.2.2/32 dev lo scope site
addr add fd00::1/64 dev v0
addr add fd00::2/128 dev v0 nodad
addr add fd00:77::1 peer fd00:77::2/128 dev v0 nodad
route add 10.5.0.0/16 nexthop via 10.0.0.50 weight 1 nexthop via 10.0.0.51 weight 2
route add 10.6.0.0/16 via inet6 fe80::99 dev v0
route add prohibit 10.7.0.0/16
route add throw 10.8.0.0/16 table 500
route add blackhole 10.10.0.0/16
route add unreachable default metric 999
route add 10.11.0.0/16 dev v0 tos 0x10
route add 10.12.0.0/16 via 10.0.0.50 mtu 1200 advmss 1000 src 10.0.0.1 metric 3 proto static
-6 route add fd05::/64 nexthop via fd00::50 nexthop via fd00::51
-6 route add unreachable fd07::/64
-6 route add prohibit fd08::/64 metric 8
-6 route add fd09::/64 from fd00::/64 dev v0
-6 route add default via fd00::50
nexthop add id 7 via 10.0.0.60 dev v0
route add 10.13.0.0/16 nhid 7
rule add from 10.0.0.0/8 table 100 prio 50
rule add iif v0 table 101 prio 51
rule add fwmark 0x1/0x3 to 10.2.0.0/16 lookup 500 prio 52
rule add blackhole from 1.2.3.4 prio 53
rule add not from 5.6.7.0/24 lookup 5 prio 54
rule add ipproto tcp dport 80 lookup 6 prio 55
rule add goto 32766 prio 56
rule add tos 0x10 lookup 7 prio 57
-6 rule add to fd00::/64 lookup 1234 prio 60 protocol 99
neigh add 10.0.0.77 lladdr 02:aa:bb:cc:dd:ee dev v0 nud stale
neigh add 10.0.0.78 lladdr 02:aa:bb:cc:dd:ef dev v0 nud permanent
neigh add 10.0.0.79 dev v0 nud failed
neigh add 10.0.0.80 lladdr 02:aa:bb:cc:dd:01 dev v0 nud noarp
neigh add proxy 10.0.0.81 dev v0
neigh add fd00::77 lladdr 02:aa:bb:cc:dd:ee dev v0 nud permanent`;

void test("what iproute2 made reads the same to us and to it", async (t) => {
  const { node, nodeRun, podRun } = makeStage(t);
  for (const line of zoo.trim().split("\n")) {
    nodeRun.run("ip", ...line.split(" ").map((word) => (word === "POD" ? podRun.name : word)));
  }
  const wanted = await sameViews(node, nodeRun);
  // Or the comparison would say little.
  const { links, addresses, routes, rules, neighbours } = wanted;
  assert.deepEqual(
    [links, rules, neighbours].map(({ length }) => length),
    [7, 8, 4],
  );
  assert.ok(routes.length >= 35 && addresses.length >= 12, `${routes.length} routes, ${addresses.length} addresses`);
  assert.equal((await node.link("otherv2"))?.name, "v2");
});

/** Compares both views of a namespace that nobody changes but the kernel itself: where it did meanwhile, again, 10 times at most. */
async function sameViews(netns: Netns, run: TestNetns): Promise<View> {
  for (let tries = 1; ; tries += 1) {
    const before = await ourView(netns);
    const view = ipView(run);
    const settled = isDeepStrictEqual(before, await ourView(netns));
    if (settled || tries === 10) {
      assert.deepEqual(before, view);
      return view;
    }
  }
}

const anyIp = (family: 4 | 6): fc.Arbitrary<Ip> =>
  fc.tuple(fc.nat(3), fc.nat(31)).map(([net, host]) => ip(family === 4 ? `10.${net}.0.${host}` : `fd0${net}::${host}`));
const anyCidr = (family: 4 | 6): fc.Arbitrary<Cidr> =>
  fc.tuple(anyIp(family), fc.nat(family === 4 ? 32 : 128)).map(([address, prefix]) => cidrOf(address, prefix));
const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(localMac);
const small = fc.nat(3);

/** Any operation on a link that is there; many will be refused. */
function anyOp(link: number): fc.Arbitrary<Op> {
  return fc.constantFrom<(4 | 6)[]>(4, 6).chain((family) => {
    const address = { link: fc.constant(link), address: anyIp(family), prefix: fc.nat(family === 4 ? 32 : 128) };
    const route = fc.record(
      {
        to: anyCidr(family),
        link: fc.constant(link),
        via: anyIp(family),
        src: anyIp(family),
        metric: small,
        table: fc.constantFrom(100, 1000),
        scope: fc.constantFrom("link", "global"),
        type: fc.constantFrom("unicast", "unreachable", "blackhole", "local"),
        mtu: fc.integer({ min: 1280, max: 9000 }),
        protocol: fc.constantFrom(4, 142),
      },
      { requiredKeys: ["to"], noNullPrototype: true },
    );
    const rule = fc.record(
      {
        family: fc.constant(family),
        priority: fc.integer({ min: 1, max: 20 }),
        table: fc.constantFrom(100, 1000),
        from: anyCidr(family),
        to: anyCidr(family),
        mark: fc.nat(0xff),
        mask: fc.integer({ min: 1, max: 0xffff }),
        protocol: fc.constantFrom(4, 142),
      },
      { requiredKeys: ["family", "priority", "table"], noNullPrototype: true },
    );
    const neighbour = { link: fc.constant(link), address: anyIp(family) };
    return fc.oneof(
      fc.record({ op: fc.constant("address.add"), ...address }),
      fc.record({ op: fc.constant("address.remove"), ...address }),
      fc.record({ op: fc.constantFrom("route.add", "route.replace", "route.remove"), route }),
      fc.record({ op: fc.constantFrom("rule.add", "rule.remove"), rule }),
      fc.record({ op: fc.constant("neighbour.set"), ...neighbour, mac: anyMac }),
      fc.record({ op: fc.constant("neighbour.remove"), ...neighbour }),
    );
  });
}

void test("what we made, whatever it was, reads the same to us and to iproute2", async (t) => {
  const { node, pod, podRun } = makeStage(t);
  const mac = localMac(new Uint8Array(6));
  const peer = { netns: pod, name: "eth0", mac, mtu: 1500 };
  const [made] = await node.apply([
    { op: "link.addVeth", name: "fl0", mac, mtu: 1500, group: 100, peer },
    { op: "link.set", link: "fl0", up: true },
  ]);
  const link = present(made?.peerIndex, "peer index");
  await pod.apply([{ op: "link.set", link, linkLocal: "none", up: true }]);
  const seen = { routes: 0, rules: 0, addresses: 0, neighbours: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(anyOp(link), { minLength: 50, maxLength: 80 }), async (ops) => {
      const results = await pod.apply(ops);
      const view = await sameViews(pod, podRun);
      seen.refused += results.filter(({ fault }) => fault !== undefined).length;
      for (const key of ["routes", "rules", "addresses", "neighbours"] as const)
        seen[key] = Math.max(seen[key], view[key].length);
    }),
    { numRuns: 8, endOnFailure: true, seed: 20_261_127 },
  );
  for (const [what, count] of Object.entries(seen))
    assert.ok(count > 8, `${count} ${what}: the operations hardly did anything`);
});

void test("a link that we made is as iproute2 would show it", async (t) => {
  const { node, pod, nodeRun, podRun } = makeStage(t);
  const mac = (last: number) => localMac(Uint8Array.of(2, 0, 0, 0, 0, last));
  const peer = { netns: pod, name: "eth0", mac: mac(2), mtu: 1400 };
  await node.apply([
    { op: "link.addVeth", name: "fl0", mac: mac(1), mtu: 1450, group: 100, peer },
    { op: "link.set", link: "fl0", linkLocal: "none", alias: "a pod", up: true },
  ]);
  const shown = (netns: TestNetns, name: string) => {
    const [link] = JSON.parse(netns.run("ip", "-N", "-d", "-j", "link", "show", "dev", name)) as Record<
      string,
      unknown
    >[];
    const {
      address,
      mtu,
      group,
      ifalias,
      inet6_addr_gen_mode: mode,
      num_tx_queues: tx,
      num_rx_queues: rx,
    } = link ?? {};
    return { address, mtu, group, ifalias, mode, tx, rx };
  };
  const host = { address: mac(1), mtu: 1450, group: "100", ifalias: "a pod", mode: "none", tx: 1, rx: 1 };
  assert.deepEqual(shown(nodeRun, "fl0"), host);
  const pristine = { address: mac(2), mtu: 1400, group: "0", ifalias: undefined, mode: "eui64", tx: 1, rx: 1 };
  assert.deepEqual(shown(podRun, "eth0"), pristine);
  assert.deepEqual((await ourView(node)).links, ipView(nodeRun).links);
});

// Conformance 4: a result tells the truth: every interface, address and route in it is in the kernel, and says so in the right words.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import {
  addressesIn,
  addressesOf,
  globalAddressesIn,
  hasLink,
  hostEnd,
  linkIn,
  linksIn,
  reachable,
  routesIn,
} from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { documentOf, type Result } from "./runtime.ts";

const node = await startNode(fileScope);

/** The interfaces inside the pod, with their places in the list. */
const podEnds = ({ interfaces }: Result) =>
  interfaces.flatMap((entry, index) => ((entry.sandbox ?? "") === "" ? [] : [{ ...entry, index }]));

test("4.1 every address points at an interface of the list, and that interface is the pod's", async (t) => {
  const result = await node.add(node.pod(t));
  const inPod = new Set(podEnds(result).map(({ index }) => index));
  assert.equal(result.ips.length, 2);
  for (const { interface: on } of result.ips) assert.ok(on !== undefined && inPod.has(on), `interface ${on}`);
});

test("4.2 sandbox is CNI_NETNS as it came", async (t) => {
  const pod = node.pod(t);
  const path = `/run/netns/../netns/${pod.ns.name}`;
  const result = await node.add(pod, { env: { CNI_NETNS: path } });
  assert.deepEqual(
    podEnds(result).map(({ name, sandbox }) => [name, sandbox]),
    [["eth0", path]],
  );
});

test("4.3 hardware address and MTU of both ends are the kernel's", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod);
  for (const { name, mac, mtu, sandbox } of result.interfaces) {
    const seen = linkIn(sandbox === pod.ns.path ? pod.ns : node.ns, name);
    assert.deepEqual([mac, mtu], [seen.address, seen.mtu], name);
  }
});

test("4.4 the pod has the addresses of the list with their prefix lengths, and no others", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod);
  assert.deepEqual(globalAddressesIn(pod.ns, "eth0").sort(), result.ips.map(({ address }) => address).sort());
});

test("4.5 the pod has every route of the list, through the next hop that stands there", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod);
  assert.ok(result.routes.some(({ dst }) => dst === "0.0.0.0/0"));
  assert.ok(result.routes.some(({ dst }) => dst === "::/0"));
  for (const { dst, gw } of result.routes) {
    const seen = routesIn(pod.ns, dst.includes(":") ? 6 : 4);
    assert.ok(
      seen.some((route) => route.dst === dst && route.gateway === gw && route.dev === "eth0"),
      `${dst} via ${gw} in ${JSON.stringify(seen)}`,
    );
  }
});

test("4.6 the gateway of an address is the next hop of a route of the pod", async (t) => {
  const pod = node.pod(t);
  const { ips } = await node.add(pod);
  for (const { address, gateway } of ips) {
    const hops = routesIn(pod.ns, address.includes(":") ? 6 : 4).map(({ gateway }) => gateway);
    assert.ok(hops.includes(present(gateway, "gateway")), `${gateway} of ${address}`);
  }
});

test("4.7 the node's end stands in the list without sandbox, and is the other end of the pod's", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod);
  assert.equal(result.interfaces.length, 2);
  const [outside, inside] = [linkIn(node.ns, hostEnd(result)), linkIn(pod.ns, "eth0")];
  assert.deepEqual([outside.link_index, inside.link_index], [inside.ifindex, outside.ifindex]);
});

test("4.8 both ends are up when ADD returns", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod);
  for (const link of [linkIn(pod.ns, "eth0"), linkIn(node.ns, hostEnd(result))]) {
    for (const flag of ["UP", "LOWER_UP"]) assert.ok(link.flags.includes(flag), `${link.ifname} is ${flag}`);
  }
});

test("4.9 the MTU is the configured one on both ends, and in the result", async (t) => {
  const small = await startNode(t, { mtu: 1400 });
  const pod = small.pod(t);
  const result = await small.add(pod);
  assert.deepEqual([linkIn(pod.ns, "eth0").mtu, linkIn(small.ns, hostEnd(result)).mtu], [1400, 1400]);
  for (const { mtu } of result.interfaces) assert.equal(mtu, 1400);
});

test("4.10 a node with one family gives that family alone, in old shapes and new", async (t) => {
  for (const [block, mine, other] of [
    ["10.4.1.0/24", "ip4", "ip6"],
    ["fd00:10:4:1::/64", "ip6", "ip4"],
  ] as const) {
    const single = await startNode(t, { blocks: [block] });
    const pod = single.pod(t);
    const result = await single.add(pod);
    assert.equal(result.ips.length, 1);
    reachable(single, pod.ns, result);
    const old = documentOf(await single.call("ADD", single.pod(t), { conf: { cniVersion: "0.2.0" } }));
    assert.ok(mine in old && !(other in old), JSON.stringify(old));
  }
});

test("4.11 no address of the pod is tentative, whichever scope it has", async (t) => {
  const pod = node.pod(t);
  await node.add(pod);
  const seen = addressesIn(pod.ns, "eth0");
  assert.ok(seen.length >= 2);
  for (const { local, tentative } of seen) assert.ok(tentative !== true, `${local} is tentative`);
});

test("4.12 the result names every link that ADD made, on both sides", async (t) => {
  const pod = node.pod(t);
  const before = new Set(linksIn(node.ns).map(({ ifname }) => ifname));
  const result = await node.add(pod);
  const made = linksIn(node.ns)
    .map(({ ifname }) => ifname)
    .filter((name) => !before.has(name));
  const inPod = linksIn(pod.ns)
    .map(({ ifname }) => ifname)
    .filter((name) => name !== "lo");
  assert.deepEqual([...made, ...inPod].sort(), result.interfaces.map(({ name }) => name).sort());
});

test("4.13 addresses lie in the node's blocks, and no two pods share one", async (t) => {
  const results = await Promise.all([node.pod(t), node.pod(t), node.pod(t)].map((pod) => node.add(pod)));
  const all = results.flatMap(addressesOf);
  assert.equal(new Set(all).size, 6);
  for (const address of all) assert.match(address, /^(?:10\.4\.1\.\d+|fd00:10:4:1:[0-9a-f:]+)$/);
});

test("4.14 interfaces of one container in two networks are two attachments", async (t) => {
  const pod = node.pod(t);
  const first = await node.add(pod, { conf: { name: "red" } });
  const second = await node.add({ ...pod, ifname: "eth1" }, { conf: { name: "blue" } });
  assert.ok(!addressesOf(second).some((address) => addressesOf(first).includes(address)));
  assert.ok(hasLink(pod.ns, "eth0") && hasLink(pod.ns, "eth1"));
});

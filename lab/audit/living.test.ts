// What is read as a living attachment: results of ADD in every form of CNI, and the agent's own records.

import assert from "node:assert/strict";
import { test } from "node:test";
import { livingOfRecord, livingOfResult, recordSchema } from "./living.ts";

const id = { network: "fairlead", containerId: "c1", ifname: "eth0" };
const interfaces = [
  { name: "flabc", mac: "02:00:00:00:00:01", mtu: 1400, sandbox: "" },
  { name: "eth0", mac: "02:00:00:00:00:02", mtu: 1400, sandbox: "/run/netns/p" },
];
const ips = [{ interface: 1, address: "10.4.1.1/32" }, { address: "fd00::1/128" }];

test("a result with interfaces tells everything but indexes", () => {
  assert.deepEqual(livingOfResult(id, JSON.stringify({ cniVersion: "1.1.0", interfaces, ips })), {
    name: "fairlead/c1/eth0",
    addresses: ["10.4.1.1", "fd00::1"],
    link: {
      netnsPath: "/run/netns/p",
      host: { name: "flabc", mac: "02:00:00:00:00:01" },
      pod: { name: "eth0", mac: "02:00:00:00:00:02" },
      mtu: 1400,
    },
  });
});

test("a chained plugin's interfaces are not taken for ours", () => {
  const others = [
    { name: "veth7", mac: "02:00:00:00:00:09" },
    { name: "ifb0", sandbox: "/run/netns/p" },
  ];
  const { link } = livingOfResult(id, JSON.stringify({ interfaces: [...others, ...interfaces], ips }));
  assert.ok(typeof link === "object");
  assert.deepEqual([link.host.name, link.pod.name], ["flabc", "eth0"]);
});

test("a result without interfaces says nothing of a link, one with none of ours says that there is none", () => {
  const old = livingOfResult(id, JSON.stringify({ ip4: { ip: "10.4.1.1/32" }, ip6: { ip: "fd00::1/128" } }));
  assert.deepEqual(old, { name: "fairlead/c1/eth0", addresses: ["10.4.1.1", "fd00::1"], link: "untold" });
  for (const some of [[], interfaces.slice(0, 1), interfaces.slice(1)]) {
    assert.equal(livingOfResult(id, JSON.stringify({ interfaces: some, ips })).link, "none");
  }
});

test("what is no result is refused by name", () => {
  assert.throws(() => livingOfResult(id, "{"), /result of ADD of fairlead\/c1\/eth0 is no JSON/);
  assert.throws(() => livingOfResult(id, '{"ips":[{"address":"10.4.1.1"}]}'), /no address with a prefix/);
});

test("a record with a wire has a link, one without is a lease alone, one with a delegate is not the pool's", () => {
  const record = { ...id, addresses: ["10.4.1.2"], netnsPath: "/run/netns/p" };
  assert.equal(livingOfRecord(recordSchema.parse(record)).link, "none");
  const macs = { hostMac: "02:00:00:00:00:01", podMac: "02:00:00:00:00:02" };
  const subnets = [{ prefix: 24, gateway: "10.4.1.1" }];
  const wire = { ...macs, hostLink: "flabc", hostIndex: 7, podIndex: 8, mtu: 1500, subnets, routes: ["10.9.0.0/16"] };
  const living = livingOfRecord(recordSchema.parse({ ...record, wire, delegate: { type: "host-local" } }));
  assert.deepEqual(living.link, {
    netnsPath: "/run/netns/p",
    host: { name: "flabc", mac: macs.hostMac, index: 7 },
    pod: { name: "eth0", mac: macs.podMac, index: 8 },
    mtu: 1500,
    subnets,
    routes: ["10.9.0.0/16"],
  });
  assert.equal(living.delegated, true);
  assert.throws(() => recordSchema.parse({ ...record, addresses: ["10.4.1.01"] }), /is no address/);
  assert.throws(() => recordSchema.parse({ ...record, wire: { ...wire, routes: ["10.9.0.0"] } }), /is no network/);
});

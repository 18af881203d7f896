// Which changes wake which loop: what others do to living pods at once, our own work never.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../base/assert.ts";
import type { KernelChange } from "../kernel/contract.ts";
import { parseCidr } from "../net/cidr.ts";
import { parseIp } from "../net/ip.ts";
import { concerned, type Owner } from "./watch.ts";

const uplink = 2;
const owners = new Map<number, Owner>([
  [10, "living"],
  [11, "changing"],
]);
const ownerOf = (index: number | undefined): Owner => owners.get(index ?? 0) ?? "nobody";
const to = (text: string) => present(parseCidr(text), text);
const address = present(parseIp("10.4.1.2"), "address");

const cases: [string, KernelChange, readonly string[]][] = [
  ["another program changed nftables", { what: "nftables", by: "nft" }, ["guard", "masquerade", "policy", "obstacles"]],
  ["another program changed its own tables", { what: "nftables", by: "nft", tables: [] }, ["obstacles"]],
  [
    "another program changed policy's table",
    { what: "nftables", by: "nft", tables: ["fairlead-policy"] },
    ["policy", "obstacles"],
  ],
  ["we did", { what: "nftables", by: "fl-nft" }, []],
  ["a living pod's link changed", { what: "link", index: 10, removed: false }, ["repair"]],
  ["a living pod's link went", { what: "link", index: 10, removed: true }, ["vanished"]],
  ["the link of a pod that is being made", { what: "link", index: 11, removed: false }, []],
  ["the link of a pod that is being removed", { what: "link", index: 11, removed: true }, []],
  ["a stranger's link", { what: "link", index: 99, removed: true }, []],
  ["the uplink", { what: "link", index: uplink, removed: false }, ["uplink", "host"]],
  ["an address of the uplink", { what: "address", link: uplink, address, removed: true }, ["uplink"]],
  ["an address elsewhere", { what: "address", link: 10, address, removed: false }, []],
  ["a living pod's neighbour went", { what: "neighbour", link: 10, address, removed: true }, ["repair"]],
  ["a neighbour was learned", { what: "neighbour", link: 10, address, removed: false }, []],
  ["a stranger's neighbour went", { what: "neighbour", link: uplink, address, removed: true }, []],
  [
    "a route of a living pod",
    { what: "route", to: to("10.4.1.2/32"), link: 10, protocol: 142, removed: true },
    ["repair"],
  ],
  [
    "a route of a pod in the making",
    { what: "route", to: to("10.4.1.3/32"), link: 11, protocol: 142, removed: false },
    [],
  ],
  [
    "a node route of ours",
    { what: "route", to: to("10.4.2.0/24"), link: uplink, protocol: 142, removed: true },
    ["host"],
  ],
  ["an unreachable block of ours", { what: "route", to: to("10.4.1.0/24"), protocol: 142, removed: true }, ["host"]],
  ["the default route", { what: "route", to: to("0.0.0.0/0"), link: uplink, protocol: 3, removed: false }, ["uplink"]],
  ["a stranger's route", { what: "route", to: to("192.0.2.0/24"), link: uplink, protocol: 3, removed: true }, []],
  ["a rule", { what: "rule", family: 4, priority: 5, removed: false }, ["host"]],
  ["a rule removed", { what: "rule", family: 4, priority: 5, removed: true }, []],
];

for (const [name, change, loops] of cases) {
  test(`${name}: ${loops.length === 0 ? "nobody" : loops.join(" and ")} is woken`, () => {
    assert.deepEqual(concerned(change, ownerOf, uplink), loops);
  });
}

test("all are woken where events were lost", () => {
  const all = ["repair", "vanished", "host", "guard", "masquerade", "policy", "uplink", "obstacles"];
  assert.deepEqual(concerned({ what: "lost" }, ownerOf, uplink), all);
});

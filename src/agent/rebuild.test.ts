// Attachments read back from links: all that was there, and nothing of what is no attachment.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../base/assert.ts";
import { testIp, testWired } from "../../test/store.contract.ts";
import type { Link } from "../kernel/contract.ts";
import { parseCidr } from "../net/cidr.ts";
import { derivedNames, hostLinkAlias, hostRoutes } from "./plan.ts";
import { attachmentsIn, type NodeView } from "./rebuild.ts";

const id = { network: "fairlead", containerId: "c1", ifname: "eth0" };
const { wire, ...rest } = testWired(id);
const attachment = { ...rest, wire: { ...wire, ...derivedNames(id) }, netnsPath: "" };
const link: Link = {
  index: wire.hostIndex,
  name: attachment.wire.hostLink,
  kind: "veth",
  mac: attachment.wire.hostMac,
  mtu: 1500,
  up: true,
  running: true,
  group: 100,
  alias: hostLinkAlias(id),
  peerIndex: wire.podIndex,
};
const view: NodeView = {
  links: [link],
  routes: [
    ...hostRoutes(attachment, { 4: testIp("172.30.0.11") }),
    { to: present(parseCidr("10.4.1.0/24"), "block"), type: "unreachable", protocol: 142 },
    { to: present(parseCidr("192.0.2.7/32"), "foreign"), link: link.index, protocol: 3 },
    { to: present(parseCidr("10.9.0.0/16"), "network"), link: link.index, protocol: 142 },
  ],
  neighbours: [{ link: link.index, address: testIp("10.4.1.1"), mac: attachment.wire.podMac, permanent: true }],
};

test("a whole attachment is read back from its link, routes and neighbour", () => {
  assert.deepEqual(attachmentsIn(view, 1000), [attachment]);
});

test("without a neighbour the pod's hardware address is the one that follows from its name", () => {
  assert.deepEqual(attachmentsIn({ ...view, neighbours: [] }, 1000), [attachment]);
});

test("what is no attachment, or not a whole one, is not read", () => {
  const others: Partial<Link>[] = [
    { kind: "bridge" },
    { group: 99 },
    { group: 0 },
    { alias: "" },
    { alias: "fairlead1 fairlead/c2/eth0" },
    { name: "fl0000000000000" },
  ];
  for (const part of others) {
    assert.deepEqual(attachmentsIn({ ...view, links: [{ ...link, ...part }] }, 0), [], JSON.stringify(part));
  }
  assert.deepEqual(attachmentsIn({ ...view, routes: [] }, 0), []);
  const { peerIndex: _, ...lost } = link;
  assert.deepEqual(attachmentsIn({ ...view, links: [lost] }, 0), []);
});

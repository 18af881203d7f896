// CHECK against the kernel in memory: each thing on the node's side that differs is named. (What differs in the pod: attach.kernel.test.ts.)

import assert from "node:assert/strict";
import { test } from "node:test";
import { startCore } from "../../test/model/core.ts";
import { makeFakeMachine } from "../../test/model/fake-machine.ts";
import { present } from "../base/assert.ts";
import { createMemoryStore } from "../ipam/memory-store.ts";
import type { Kernel, Op } from "../kernel/contract.ts";
import { hostCidr, parseCidr } from "../net/cidr.ts";
import { parseIp } from "../net/ip.ts";
import { parseMac } from "../net/mac.ts";

const address = present(parseIp("10.4.1.2"), "address");
const otherMac = present(parseMac("02:00:00:00:00:99"), "mac");
const env = { CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: "/run/netns/c1" };

type Damage = (kernel: Kernel, link: number) => Promise<unknown>;

const change =
  (op: (link: number) => Op): Damage =>
  (kernel, link) =>
    kernel.node.apply([op(link)]);

const damages: [what: string, damage: Damage, words: RegExp][] = [
  ["nothing", async () => {}, /^$/],
  ["link down", change((link) => ({ op: "link.set", link, up: false })), /fl[0-9a-f]{13} on the node is down/],
  [
    "another group",
    change((link) => ({ op: "link.set", link, group: 7 })),
    /link group of fl[0-9a-f]{13} on the node is 7, not 100/,
  ],
  [
    "another MTU",
    change((link) => ({ op: "link.set", link, mtu: 1400 })),
    /MTU of fl[0-9a-f]{13} on the node is 1400, not 1500/,
  ],
  [
    "no route",
    change((link) => ({ op: "route.remove", route: { to: hostCidr(address), link } })),
    /route 10\.4\.1\.2\/32 is missing on the node/,
  ],
  [
    "no neighbour",
    change((link) => ({ op: "neighbour.remove", link, address })),
    /permanent neighbour 10\.4\.1\.2 is missing on fl/,
  ],
  [
    "another neighbour",
    change((link) => ({ op: "neighbour.set", link, address, mac: otherMac })),
    /permanent neighbour 10\.4\.1\.2 is missing on fl/,
  ],
  [
    "a renamed link",
    change((link) => ({ op: "link.set", link, rename: "other" })),
    /host link fl[0-9a-f]{13} is missing/,
  ],
  ["no guard entry", (kernel) => kernel.guard.ensure([]), /source guard does not list 10\.4\.1\.2/],
  ["no guard", (kernel) => kernel.guard.prune(), /source guard table is missing/],
];

for (const [what, damage, words] of damages) {
  test(`CHECK after damage: ${what}`, async () => {
    const machine = makeFakeMachine();
    const core = await startCore({
      kernel: machine.kernel,
      store: createMemoryStore(),
      blocks: [present(parseCidr("10.4.1.0/24"), "block")],
      uplink: machine.uplink,
      bootId: "boot",
      coolMs: 60_000,
      now: () => 0,
    });
    machine.addNetns("c1");
    const added = await core.call("ADD", env);
    assert.equal(added.code, 0, added.stdout);
    const link = (await machine.kernel.node.links()).find(({ name }) => name.startsWith("fl"));
    await damage(machine.kernel, present(link, "host link").index);
    const { code, stdout } = await core.call("CHECK", env, { prevResult: JSON.parse(added.stdout) as object });
    assert.match(code === 0 ? "" : stdout, words);
    assert.equal(code, what === "nothing" ? 0 : 106);
  });
}

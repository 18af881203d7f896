// CHECK against the kernel in memory: each thing on the node's side that differs is named. (What differs in the pod: attach.kernel.test.ts.)

import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeNode } from "../../test/model/fake-node.ts";
import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import type { Address, Kernel, Op } from "../kernel/contract.ts";
import { hostCidr } from "../net/cidr.ts";
import { parseIp } from "../net/ip.ts";
import { parseMac } from "../net/mac.ts";
import { openGroup } from "./plan.ts";
import { openPolicy } from "./policy/pod-policy.ts";

const address = present(parseIp("10.4.1.2"), "address");
const otherMac = present(parseMac("02:00:00:00:00:99"), "mac");

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
  [
    "the route in another table",
    (kernel, link) =>
      kernel.node.apply([
        { op: "route.remove", route: { to: hostCidr(address), link } },
        { op: "route.add", route: { to: hostCidr(address), link, table: 77 } },
      ]),
    /route 10\.4\.1\.2\/32 is missing on the node/,
  ],
  [
    "the pod's end down",
    (kernel) => kernel.openNetns("/run/netns/c1").apply([{ op: "link.set", link: "eth0", up: false }]),
    /the other end of fl[0-9a-f]{13} on the node is down or gone/,
  ],
  [
    "a tentative address",
    async (kernel) => {
      const { openNetns } = kernel;
      // The fake knows no duplicate address detection.
      kernel.openNetns = (path) => {
        const netns = openNetns(path);
        const addresses = async (): Promise<Address[]> =>
          (await netns.addresses()).map((held) => ({ ...held, tentative: held.address === address }));
        return { ...netns, addresses };
      };
    },
    /address 10\.4\.1\.2 on eth0 in the pod is tentative/,
  ],
  ["no guard entry", (kernel) => kernel.guard.ensure([]), /source guard does not list 10\.4\.1\.2/],
  [
    "no guard for this link",
    async (kernel) => {
      const [guarded] = (await kernel.guard.list()) ?? [];
      await kernel.guard.admit([{ link: present(guarded, "a guarded link").link, address: "any" }]);
    },
    /source guard lets fl[0-9a-f]+ send from any address/,
  ],
  ["no guard", (kernel) => kernel.guard.prune(), /source guard table is missing/],
];

for (const [what, damage, words] of damages) {
  test(`CHECK after damage: ${what}`, async () => {
    const { machine, add, call } = await startFakeNode();
    const prevResult = await add("c1");
    const link = (await machine.kernel.node.links()).find(({ name }) => name.startsWith("fl"));
    await damage(machine.kernel, present(link, "host link").index);
    const { code, stdout } = await call("CHECK", "c1", { prevResult });
    assert.match(code === 0 ? "" : stdout, words);
    assert.equal(code, what === "nothing" ? 0 : 106);
  });
}

test("CHECK of a pod whose removal has begun fails", async () => {
  const { core, add, call } = await startFakeNode();
  const prevResult = await add("c1");
  core.pool.leave({ network: "fairlead", containerId: "c1", ifname: "eth0" });
  const { code, stdout } = await call("CHECK", "c1", { prevResult });
  assert.equal(code, 106);
  assert.match(stdout, /its address is not reserved/);
});

test("CHECK while policy moves the pod to another class looks again when it has", async () => {
  let group = openGroup;
  const { machine, add, call } = await startFakeNode({
    policy: {
      ...openPolicy,
      groupOf: () => group,
      settle: async () => {
        const link = (await machine.kernel.node.links()).find(({ name }) => name.startsWith("fl"));
        if (link !== undefined) await machine.kernel.node.apply([{ op: "link.set", link: link.index, group }]);
        return group;
      },
    },
  });
  const prevResult = await add("c1");
  group = 140;
  assert.equal((await call("CHECK", "c1", { prevResult })).code, 0);
});

test("CHECK tells why policy could not be settled, beside what differs", async () => {
  const settling = { fails: false };
  const settle = async (): Promise<number> => {
    if (settling.fails) throw new Fault("kernel-refused", "the table cannot be loaded");
    return openGroup;
  };
  const { add, call } = await startFakeNode({ policy: { ...openPolicy, groupOf: () => 140, settle } });
  const prevResult = await add("c1");
  settling.fails = true;
  const { code, stdout } = await call("CHECK", "c1", { prevResult });
  assert.equal(code, 106);
  assert.match(stdout, /is 100, not 140; policy could not be settled: the table cannot be loaded/);
});

// When ADD answers, the pair carries packets in both families: the first is not lost because a work queue of the kernel is late (docs/decisions/0013-add-answers-when-packets-pass.md).

import assert from "node:assert/strict";
import { test } from "node:test";
import { addUplink, startTestAgent } from "../../test/agent.ts";
import { startCore } from "../../test/model/core.ts";
import { attribute, dump, getLink, getRoute, message, newLink, request, route } from "../../test/netlink-bytes.ts";
import { makeNetns } from "../../test/netns.ts";
import { present } from "../base/assert.ts";
import { silentLog } from "../base/log.ts";
import { createMemoryStore } from "../ipam/memory-store.ts";
import { loadAddon } from "../kernel/addon.ts";
import { openKernel } from "../kernel/kernel.ts";
import { parseCidr } from "../net/cidr.ts";
import { type Ip, ipBytes } from "../net/ip.ts";
import { findUplink } from "./uplink.ts";

/** Enough: one ADD in ten answers too early where nobody sees to it. */
const rounds = 100;

/** The bits of if_link.h that an interface has: up by the administrator's will, and able to send. */
const [up, running] = [0x1, 0x40];
/** RTM_NEWROUTE. */
const newRoute = 24;

/** Flags of our links by their index. Of all messages only a dump does not change what it tells about. */
function flagsIn(bytes: Buffer): Map<number, number> {
  const flags = new Map<number, number>();
  for (let at = 0; at < bytes.length; at += (bytes.readUInt32LE(at) + 3) & ~3) {
    if (bytes.readUInt16LE(at + 4) === newLink) flags.set(bytes.readInt32LE(at + 20), bytes.readUInt32LE(at + 24));
  }
  return flags;
}

/** True where a dump of routes says that the namespace takes packets to that IPv6 address for its own (rtm_type RTN_LOCAL, RTA_DST). */
function isLocalIn(bytes: Buffer, address: Ip): boolean {
  const destination = attribute(1, Buffer.from(ipBytes(address)));
  for (let at = 0; at < bytes.length; at += (bytes.readUInt32LE(at) + 3) & ~3) {
    const isLocal = bytes.readUInt16LE(at + 4) === newRoute && bytes[at + 17] === 128 && bytes[at + 23] === 2;
    if (isLocal && bytes.subarray(at, at + bytes.readUInt32LE(at)).includes(destination)) return true;
  }
  return false;
}

test(
  "the node's end can send, and the pod answers to its IPv6 address, when ADD answers",
  { timeout: 120_000 },
  async (t) => {
    const node = makeNetns(t);
    const pod = makeNetns(t);
    addUplink(node);
    const addon = loadAddon();
    const kernel = openKernel({ nodeNetns: node.path, log: silentLog() });
    t.after(() => kernel.close());
    const [onNode, inPod] = [node.path, pod.path].map((path) => {
      const netns = addon.openNetns(path);
      const socket = addon.openNetlink(netns, route);
      t.after(() => [socket, netns].forEach((descriptor) => addon.close(descriptor)));
      return socket;
    });
    assert.ok(onNode !== undefined && inPod !== undefined);
    const blocks = ["10.4.1.0/24", "fd00:10:4:1::/64"].map((text) => present(parseCidr(text), text));
    const core = await startCore({
      kernel,
      store: createMemoryStore(),
      blocks,
      uplink: await findUplink(kernel, { blocks: () => blocks, vias: [], mtu: "auto" }),
      bootId: "this",
      coolMs: 0,
      now: Date.now,
    });
    const links = message(getLink, request | dump, 1, Buffer.alloc(16));
    const routes = message(getRoute, request | dump, 1, Buffer.from([10, ...Buffer.alloc(11)])); // AF_INET6
    const env = { CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: pod.path };
    for (let round = 1; round <= rounds; round += 1) {
      const { code, stdout } = await core.call("ADD", env);
      assert.equal(code, 0, stdout);
      const [linkBytes, routeBytes]: [Buffer, Buffer] = await Promise.all([
        addon.call(0, onNode, links, 1000),
        addon.call(0, inPod, routes, 1000),
      ]);
      const { addresses, wire } = present(core.pool.all()[0], "the attachment").attachment;
      assert.equal(
        (flagsIn(linkBytes).get(wire?.hostIndex ?? 0) ?? 0) & (up | running),
        up | running,
        `round ${round}`,
      );
      const v6 = present(addresses[1], "the IPv6 address");
      assert.ok(isLocalIn(routeBytes, v6), `round ${round}: the pod does not know ${v6} yet`);
      assert.equal((await core.call("DEL", env)).code, 0);
      await core.settle();
    }
  },
);

test("where the kernel's link watch comes late, ADD waits for it, but not for ever", async (t) => {
  let late = 0;
  let asked = 0;
  const agent = await startTestAgent(t, {
    wrap: (kernel) => {
      const { node } = kernel;
      const carries = async (ref: string | number): Promise<boolean> => {
        const real = await node.carries(ref);
        asked += 1;
        return asked > late && real;
      };
      return { ...kernel, node: { ...node, id: node.id, carries } };
    },
  });
  for (const [times, expected] of [
    [0, 1],
    [5, 6],
    [Infinity, 201],
  ] as const) {
    late = times;
    asked = 0;
    const call = { containerId: `c${expected}`, netns: makeNetns(t).path };
    await agent.add(call);
    assert.equal(asked, expected);
    assert.equal((await agent.cni("DEL", call)).exitCode, 0);
  }
});

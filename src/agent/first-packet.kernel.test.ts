// When ADD answers, the node's end of the pair sends: its first packet is not lost because a work queue of the kernel is late.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addUplink } from "../../test/agent.ts";
import { startCore } from "../../test/model/core.ts";
import { dump, getLink, message, newLink, request, route } from "../../test/netlink-bytes.ts";
import { makeNetns } from "../../test/netns.ts";
import { present } from "../base/assert.ts";
import { silentLog } from "../base/log.ts";
import { createMemoryStore } from "../ipam/memory-store.ts";
import { loadAddon } from "../kernel/addon.ts";
import { openKernel } from "../kernel/kernel.ts";
import { parseCidr } from "../net/cidr.ts";
import { findUplink } from "./uplink.ts";

/** Enough: where nobody asks for the link, one ADD in ten answers too early. */
const rounds = 100;

/** The bits of if_link.h that an interface has: up by the administrator's will, and able to send. */
const [up, running] = [0x1, 0x40];

/** Flags of our links by their index. Of all messages only a dump does not change what it tells about. */
function flagsIn(bytes: Buffer): Map<number, number> {
  const flags = new Map<number, number>();
  for (let at = 0; at < bytes.length; at += (bytes.readUInt32LE(at) + 3) & ~3) {
    if (bytes.readUInt16LE(at + 4) === newLink) flags.set(bytes.readInt32LE(at + 20), bytes.readUInt32LE(at + 24));
  }
  return flags;
}

test("the node's end can send when ADD answers", { timeout: 120_000 }, async (t) => {
  const node = makeNetns(t);
  const pod = makeNetns(t);
  addUplink(node);
  const addon = loadAddon();
  const kernel = openKernel({ nodeNetns: node.path, log: silentLog() });
  t.after(() => kernel.close());
  const netns = addon.openNetns(node.path);
  const socket = addon.openNetlink(netns, route);
  t.after(() => [socket, netns].forEach((descriptor) => addon.close(descriptor)));
  const blocks = ["10.4.1.0/24", "fd00:10:4:1::/64"].map((text) => present(parseCidr(text), text));
  const core = await startCore({
    kernel,
    store: createMemoryStore(),
    blocks,
    uplink: await findUplink(kernel, { blocks, vias: [], mtu: "auto" }),
    bootId: "this",
    coolMs: 0,
    now: Date.now,
  });
  const links = message(getLink, request | dump, 1, Buffer.alloc(16));
  const env = { CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: pod.path };
  for (let round = 1; round <= rounds; round += 1) {
    const { code, stdout } = await core.call("ADD", env);
    assert.equal(code, 0, stdout);
    const flags = flagsIn(await addon.call(0, socket, links, 1000));
    const index = core.pool.all()[0]?.attachment.wire?.hostIndex ?? 0;
    assert.equal((flags.get(index) ?? 0) & (up | running), up | running, `round ${round}`);
    assert.equal((await core.call("DEL", env)).code, 0);
    await core.settle();
  }
});

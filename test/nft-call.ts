// A door to nftables of a test's namespace: requests in, the kernel's answers out.

import type { TestContext } from "node:test";
import { loadAddon } from "../src/kernel/addon.ts";
import type { TestNetns } from "./netns.ts";

const netfilterLane = 1;
const netlinkNetfilter = 12;

export type NftCall = (request: Uint8Array) => Promise<Buffer>;

/** Opens it until `t` ends; a call may take so long. */
export function openNftCall(t: TestContext, netns: TestNetns, callTimeoutMs = 10_000): NftCall {
  const addon = loadAddon();
  const namespace = addon.openNetns(netns.path);
  const socket = addon.openNetlink(namespace, netlinkNetfilter);
  t.after(() => {
    addon.close(socket);
    addon.close(namespace);
  });
  return (request) => addon.call(netfilterLane, socket, request, callTimeoutMs);
}

// The stage of the kernel contract: what a suite is given, and the pair of links that most of its tests begin with.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { present } from "../src/base/assert.ts";
import { Fault, type FaultCode } from "../src/base/fault.ts";
import type { Connection, ForwardChain, Kernel, Netns, Op, OpResult } from "../src/kernel/contract.ts";
import { type Cidr, parseCidr } from "../src/net/cidr.ts";
import { type Ip, parseIp } from "../src/net/ip.ts";
import { type Mac, parseMac } from "../src/net/mac.ts";

export interface KernelUnderTest {
  kernel: Kernel;
  /** Makes an empty namespace (loopback down) and gives its path. */
  podNetns: () => string;
  /** Puts connections into the node's table. */
  track: (connections: Iterable<Connection>) => Promise<void>;
  /** Does what another program can do to the node's nftables. */
  disturbNftables: () => void;
  /** Does to the masquerade's table what another program can do. */
  damageMasquerade: (how: "rules flushed" | "table deleted") => void;
  /** The same, to the policy table. */
  damagePolicy: (how: "rules flushed" | "table deleted") => void;
  /** Makes a chain on the node's forward hook, in a table of its own, beside one on another hook. */
  addForwardChain: (chain: ForwardChain) => void;
  /** Attaches an eBPF program by tcx to a link of the node, by its name; gives what takes it off. */
  attachTcx: (link: string, direction: "ingress" | "egress") => Promise<() => Promise<void>>;
  /** Lets more happen on the node than watchers can be told. */
  loseChanges: () => void;
  /** Has the node log a UDP packet as policy does, from its loopback to that address and port. */
  logPacket: (outcome: "denied" | "audited", destination: Ip, port: number) => void;
  /** Takes the path away, as a runtime does when a pod ends; what holds the namespace open still has it. */
  removeNetns: (path: string) => void;
}

export type MakeKernel = (t: TestContext) => Promise<KernelUnderTest>;

export const ip = (text: string): Ip => present(parseIp(text), `address ${text}`);
export const cidr = (text: string): Cidr => present(parseCidr(text), `network ${text}`);
export const mac = (text: string): Mac => present(parseMac(text), `hardware address ${text}`);

export const hostMac = mac("02:00:00:00:00:01");
export const podMac = mac("02:00:00:00:00:02");

export const pairOp = (netns: Netns, name = "fl0", peer = "eth0"): Op => ({
  op: "link.addVeth",
  name,
  mac: hostMac,
  mtu: 1450,
  group: 100,
  peer: { netns, name: peer, mac: podMac, mtu: 1400 },
});

export async function applyOk(netns: Netns, ops: readonly Op[]): Promise<OpResult[]> {
  const results = await netns.apply(ops);
  for (const { fault } of results) if (fault !== undefined) throw fault;
  assert.equal(results.length, ops.length);
  return results;
}

/** The codes of a list's answers, "ok" for success. */
export async function codes(netns: Netns, ops: readonly Op[]): Promise<string[]> {
  return (await netns.apply(ops)).map(({ fault }) => fault?.code ?? "ok");
}

export const faultOf =
  (...expected: FaultCode[]) =>
  (error: unknown) =>
    error instanceof Fault && expected.includes(error.code);

/** For `assert.rejects` and `assert.throws`: a fault of this code whose message has these words. */
export const faultSaying = (code: FaultCode, words: RegExp) => (error: unknown) =>
  error instanceof Fault && error.code === code && words.test(error.message);

export interface Pair {
  under: KernelUnderTest;
  node: Netns;
  pod: Netns;
  podPath: string;
  index: number;
  peerIndex: number;
}

/** A pod with a pair, both ends up unless `down`. */
export async function makePair(t: TestContext, make: MakeKernel, state: "up" | "down" = "up"): Promise<Pair> {
  const under = await make(t);
  const { node } = under.kernel;
  const podPath = under.podNetns();
  const pod = under.kernel.openNetns(podPath);
  const [made] = await applyOk(node, [pairOp(pod)]);
  const index = present(made?.index, "index");
  const peerIndex = present(made?.peerIndex, "peerIndex");
  if (state === "up") {
    await applyOk(pod, [{ op: "link.set", link: peerIndex, linkLocal: "none", up: true }]);
    await applyOk(node, [{ op: "link.set", link: index, linkLocal: "none", up: true }]);
  }
  return { under, node, pod, podPath, index, peerIndex };
}

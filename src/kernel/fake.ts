// A kernel in memory for tests and for the fast half of scenarios: it refuses what the real one refuses, and passes the same contract.

import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import type { Mac } from "../net/mac.ts";
import type { Connection, ForwardChain, Kernel, Netns } from "./contract.ts";
import { createFakeConntrack } from "./fake-conntrack.ts";
import { createFakeFlowLog, type FakeFlowLog } from "./fake-flow-log.ts";
import { type GuardDamage, createFakeGuard } from "./fake-guard.ts";
import { dropLink } from "./fake-links.ts";
import { createFakeMasquerade, type FakeMasquerade } from "./fake-masq.ts";
import { type FakeCall, createFakeNetns } from "./fake-netns.ts";
import { type FakePolicy, createFakePolicy } from "./fake-policy.ts";
import { createFakeWatch } from "./fake-watch.ts";
import { type FakeNamespace, addLink, createNamespaces } from "./fake-world.ts";

/** "nothing was done": refused. "all was done": the kernel did it, and its answer was lost. */
export type FakeEffect = "nothing was done" | "all was done";

export interface FakeKernel extends Kernel {
  /** Makes an empty namespace at `path` (any text), its loopback down. */
  addNetns(path: string): void;
  /** Takes the path away; the namespace ends when nothing has it open any more. */
  removeNetns(path: string): void;
  /** Makes an unremovable link that is down, as hardware is. Gives its index. */
  addDevice(netns: Netns, device: { name: string; mac: Mac; mtu: number }): number;
  /** Another program attaches an eBPF program to a link of the node by tcx; the function that it gives takes it off. */
  attachTcx(link: number): () => void;
  /** The next call of that name fails with `fault`; each failure is used once, in order. */
  failNext(call: FakeCall, fault: Fault, effect?: FakeEffect): void;
  /** What another program can do to the guard's table. */
  damageGuard: (how: GuardDamage) => void;
  /** The same, to the masquerade's. */
  damageMasquerade: FakeMasquerade["damage"];
  /** The same, to the policy table. */
  damagePolicy: FakePolicy["damage"];
  /** Packets come to a counter of the policy table. */
  countPackets: FakePolicy["count"];
  countLookups: FakePolicy["countLookups"];
  /** Puts a connection into the node's table, as its first packet does. */
  track: (connection: Connection) => void;
  /** The policy table logs a packet, or one gets lost. */
  logPacket: FakeFlowLog["log"];
  /** Another program makes a chain. */
  addForwardChain: (chain: ForwardChain) => void;
  /** Changes are lost on the way to those who watch. */
  loseChanges: () => void;
}

/** Failures that can wait at once. */
const failuresMax = 1000;

/** Makes a kernel whose node namespace is empty, its loopback down. */
export function createFakeKernel(): FakeKernel {
  const makeNamespace = createNamespaces();
  const paths = new Map<string, FakeNamespace>();
  const open = new Map<Netns, FakeNamespace>();
  const failures: { call: FakeCall; fault: Fault; effect: FakeEffect }[] = [];
  const forwardChains: ForwardChain[] = [];
  let closed = false;

  function mustBeOpen(what: string): void {
    if (closed) throw new Fault("agent-stopping", `${what}: the kernel was closed`);
  }

  /** Throws where the call is to fail before it does anything; gives what throws where it is to fail after. */
  function begin(call: FakeCall): () => void {
    const at = failures.findIndex((failure) => failure.call === call);
    const [failure] = at < 0 ? [] : failures.splice(at, 1);
    if (failure?.effect === "nothing was done") throw failure.fault;
    return () => {
      if (failure !== undefined) throw failure.fault;
    };
  }

  function openNamespace(namespace: FakeNamespace): Netns {
    namespace.holders += 1;
    const netns = createFakeNetns(namespace, { begin, changed: watch.changed, open, release });
    open.set(netns, namespace);
    return netns;
  }

  function release(namespace: FakeNamespace): void {
    namespace.holders -= 1;
    if (namespace.holders > 0) return;
    for (const link of namespace.links.values()) dropLink(namespace, link);
    watch.changed();
  }

  const nodeNamespace = makeNamespace();
  nodeNamespace.holders += 1; // the node outlives whoever looks at it
  const watch = createFakeWatch(nodeNamespace, mustBeOpen);
  const beginOpen = (call: FakeCall): (() => void) => {
    mustBeOpen(call);
    return begin(call);
  };
  const { guard, damage } = createFakeGuard({ begin: beginOpen, committed: watch.nftables });
  const masquerade = createFakeMasquerade({ begin: beginOpen, committed: watch.nftables });
  const policy = createFakePolicy({ begin: beginOpen, committed: watch.nftables });
  const flows = createFakeFlowLog(beginOpen);
  const { conntrack, track } = createFakeConntrack(beginOpen, flows.connection);
  return {
    node: openNamespace(nodeNamespace),
    guard,
    masquerade: masquerade.masquerade,
    policy: policy.policy,
    conntrack,
    flowLog: flows.flowLog,
    watch: watch.watch,
    untrackedRules: async () => {
      mustBeOpen("read the rules");
      return [];
    },
    forwardChains: async () => {
      mustBeOpen("read the chains");
      return structuredClone(forwardChains);
    },
    callsUnderWay: () => ({ route: 0, nftables: 0, removal: 0 }), // each call is done at once
    openNetns: (path) => {
      mustBeOpen(`opening network namespace ${path}`);
      const end = begin("netns.open");
      const namespace = paths.get(path);
      if (namespace === undefined)
        throw new Fault("netns-missing", `no network namespace at ${path}`, { data: { path } });
      end();
      return openNamespace(namespace);
    },
    close: () => {
      closed = true;
      watch.close();
      flows.close();
      for (const netns of open.keys()) netns.close();
    },
    addNetns: (path) => {
      if (paths.has(path)) throw new Fault("bug", `the test makes ${path} twice`);
      const namespace = makeNamespace();
      namespace.holders += 1;
      paths.set(path, namespace);
    },
    removeNetns: (path) => {
      const namespace = present(paths.get(path), path);
      paths.delete(path);
      release(namespace);
    },
    addDevice: (netns, device) => {
      const { index } = addLink(present(open.get(netns), "an open namespace"), { ...device, kind: "", group: 0 });
      watch.changed();
      return index;
    },
    attachTcx: (index) => {
      const link = present(nodeNamespace.links.get(index), `link ${index}`);
      link.tcxPrograms += 1;
      return () => {
        link.tcxPrograms -= 1;
      };
    },
    failNext: (call, fault, effect = "nothing was done") => {
      if (failures.length >= failuresMax) throw new Fault("bug", `more than ${failuresMax} failures wait`);
      failures.push({ call, fault, effect });
    },
    damageGuard: damage,
    damageMasquerade: masquerade.damage,
    damagePolicy: policy.damage,
    countPackets: policy.count,
    countLookups: policy.countLookups,
    track,
    logPacket: flows.log,
    addForwardChain: (chain) => {
      forwardChains.push(chain);
      watch.nftables("nft", []);
    },
    loseChanges: watch.lose,
  };
}

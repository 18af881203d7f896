// One node in memory for tests of single verbs: the fake kernel, an agent without loops on it, and calls for pods by name.

import assert from "node:assert/strict";
import { present } from "../../src/base/assert.ts";
import { createMemoryStore } from "../../src/ipam/memory-store.ts";
import type { Store } from "../../src/ipam/store.ts";
import type { Kernel } from "../../src/kernel/contract.ts";
import { parseCidr } from "../../src/net/cidr.ts";
import type { PodPolicy } from "../../src/agent/policy/pod-policy.ts";
import { type Core, type CoreAnswer, type CoreOptions, startCore } from "./core.ts";
import { type FakeMachine, makeFakeMachine } from "./fake-machine.ts";

/** How long a released address rests on such a node. */
export const fakeCoolMs = 60_000;

export interface FakeNode {
  machine: FakeMachine;
  core: Core;
  store: Store;
  /** Both clocks of the agent. */
  clock: { nowMs: number };
  /** ADD that must succeed, in a fresh namespace; gives its result. */
  add(id: string): Promise<object>;
  /** DEL that must succeed. */
  remove(id: string): Promise<void>;
  /** Any call for the pod, as a runtime makes it. */
  call(verb: string, id: string, config?: object): Promise<CoreAnswer>;
  /** Names of the node's links but for the loopback and the uplink. */
  links(): Promise<string[]>;
}

export interface FakeNodeOptions {
  /** Where an agent lived before: its machine. */
  machine?: FakeMachine;
  /** What that agent wrote down. */
  store?: Store;
  bootId?: string;
  policy?: PodPolicy;
  admit?: CoreOptions["admit"];
  /** Stands between the agent and the kernel. */
  wrap?: (kernel: Kernel) => Kernel;
}

/** Starts the agent. */
export async function startFakeNode(options: FakeNodeOptions = {}): Promise<FakeNode> {
  const {
    machine = makeFakeMachine(),
    store = createMemoryStore(),
    bootId = "boot",
    wrap = (kernel) => kernel,
    policy,
    admit,
  } = options;
  const clock = { nowMs: 0 };
  const core = await startCore({
    kernel: wrap(machine.kernel),
    store,
    blocks: [present(parseCidr("10.4.1.0/24"), "block")],
    uplink: machine.uplink,
    bootId,
    coolMs: fakeCoolMs,
    now: () => clock.nowMs,
    ...(policy === undefined ? {} : { policy }),
    ...(admit === undefined ? {} : { admit }),
  });
  const call: FakeNode["call"] = (verb, id, config) =>
    core.call(verb, { CNI_CONTAINERID: id, CNI_IFNAME: "eth0", CNI_NETNS: machine.pathOf(id) }, config);
  const ok = async (verb: string, id: string): Promise<string> => {
    const { code, stdout } = await call(verb, id);
    assert.equal(code, 0, `${verb} of ${id}: ${stdout}`);
    return stdout;
  };
  return {
    machine,
    core,
    store,
    clock,
    call,
    add: async (id) => {
      machine.addNetns(id);
      return JSON.parse(await ok("ADD", id)) as object;
    },
    remove: async (id) => void (await ok("DEL", id)),
    links: async () => {
      const names = (await machine.kernel.node.links()).map(({ name }) => name);
      return names.filter((name) => name !== "lo" && name !== "eth0");
    },
  };
}

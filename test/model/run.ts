// Plays a list of steps on an agent and on the model, and holds each answer and the end of it against each other.

import { createMemoryStore } from "../../src/ipam/memory-store.ts";
import type { Store } from "../../src/ipam/store.ts";
import type { Kernel } from "../../src/kernel/contract.ts";
import { vanishedMs } from "../../src/agent/vanished.ts";
import { parseCidr } from "../../src/net/cidr.ts";
import { present } from "../../src/base/assert.ts";
import type { Uplink } from "../../src/agent/uplink.ts";
import { type Core, type CoreAnswer, startCore } from "./core.ts";
import { findDifferences } from "./differences.ts";
import { Broken, createModel, type Model } from "./model.ts";
import { createLife, type Fate, type Life, mortalKernel, mortalStore } from "./mortal.ts";
import type { PodCall, Step } from "./steps.ts";

/** A machine: its kernel, and namespaces by the path under which a runtime mounts them. */
export interface Machine {
  kernel: Kernel;
  uplink: Uplink;
  addNetns(name: string): void;
  /** Settles when the kernel has taken down all that was in it. */
  removeNetns(name: string): Promise<void>;
  /** The path of a namespace, whether it is there or not. */
  pathOf(name: string): string;
}

/** 10.4.0.0/25 less network, gateway and broadcast address. */
const blocks = ["10.4.0.0/25", "fd00:4::/64"].map((text) => present(parseCidr(text), text));
const capacity = 125;
const coolMs = 60_000;

interface World {
  machine: Machine;
  store: Store;
  core: Core;
  model: Model;
  life: Life;
  nowMs: number;
  boots: number;
  /** The present sandbox of each pod: how many it had before. */
  generations: Map<number, number>;
  netns: Set<string>;
}

/** Plays the steps; `makeMachine` is called for the start and for every reboot. @throws Broken, or what the agent threw */
export async function play(steps: readonly Step[], makeMachine: () => Machine | Promise<Machine>): Promise<void> {
  const machine = await makeMachine();
  const parts: Omit<World, "core"> = {
    machine,
    store: createMemoryStore(),
    model: createModel({ capacity, coolMs, vanishedMs }),
    life: createLife(),
    nowMs: 1_000_000,
    boots: 1,
    generations: new Map(),
    netns: new Set(),
  };
  const world: World = Object.assign(parts, { core: await begin(parts) });
  for (const step of steps) {
    await take(step, world, makeMachine);
    await settle(world);
  }
  await settle(world); // the last step may have ended in a death
  const differences = await findDifferences(world.machine, world.store, world.model, world.core.pool);
  if (differences.length > 0) throw new Broken(differences.join("; "));
}

/** Background work; an agent that has calls left to live may die in it. */
async function settle(world: World): Promise<void> {
  const { life, core, model } = world;
  // A pass that fails is made again.
  await Promise.race([core.settle().catch(() => core.settle()), life.died]);
  life.fate = undefined;
  if (life.dead) await restart(world);
  else model.settled(world.nowMs);
}

/** A new agent on what the last one has left. */
async function begin(world: Omit<World, "core">): Promise<Core> {
  await Promise.allSettled(world.life.underWay);
  for (const netns of world.life.open) netns.close();
  world.life = createLife();
  const { machine, store, life } = world;
  return startCore({
    kernel: mortalKernel(machine.kernel, life),
    store: mortalStore(store, life),
    blocks,
    uplink: machine.uplink,
    bootId: `boot ${world.boots}`,
    coolMs,
    now: () => world.nowMs,
  });
}

async function restart(world: World): Promise<void> {
  world.core = await begin(world);
  const held = new Map(
    world.core.pool.all().map(({ attachment }) => [attachment.containerId, attachment.addresses.map(String)]),
  );
  world.model.restarted(held, world.nowMs);
}

async function take(step: Step, world: World, makeMachine: () => Machine | Promise<Machine>): Promise<void> {
  const { model } = world;
  switch (step.do) {
    case "calls":
      return makeCalls(step.calls, step.fate, world);
    case "gc": {
      const kept = new Set(model.attached().map(([id]) => id));
      for (const pod of step.forgotten) kept.delete(idOf(pod, world));
      const list = [...kept].map((containerID) => ({ containerID, ifname: "eth0" }));
      const { code } = await world.core.call("GC", {}, { "cni.dev/valid-attachments": list });
      return model.collected(kept, code, world.nowMs);
    }
    case "restart":
      return restart(world);
    case "reboot": {
      world.machine = await makeMachine();
      world.boots += 1;
      world.netns.clear();
      for (const [pod, generation] of world.generations) world.generations.set(pod, generation + 1);
      model.rebooted(world.nowMs);
      return restart(world);
    }
    case "vanish": {
      const id = idOf(step.pod, world);
      if (!world.netns.delete(id)) return;
      await world.machine.removeNetns(id);
      model.vanish(id);
      world.generations.set(step.pod, (world.generations.get(step.pod) ?? 0) + 1);
      return;
    }
    case "wait":
      world.nowMs += step.seconds * 1000;
      return;
    default:
      return step satisfies never;
  }
}

function idOf(pod: number, { generations }: World, late = false): string {
  const generation = generations.get(pod) ?? 0;
  return `p${pod}-${late ? generation - 1 : generation}`;
}

/**
 * All at once, ADD and DEL of one pod too: the agent has to put them in order. CHECK is asked with what ADD has answered, and so
 * waits for the calls before it, and those after it for CHECK.
 */
async function makeCalls(calls: readonly PodCall[], fate: Fate | undefined, world: World): Promise<void> {
  const { life, model } = world;
  Object.assign(life, { fate, calls: 0 });
  const unanswered: string[] = [];
  const one = async ({ verb, pod, late = false }: PodCall, earlier: readonly Promise<void>[]): Promise<void> => {
    if (earlier.length > 0) await Promise.all(earlier);
    if (life.dead) return;
    const id = idOf(pod, world, late && verb === "DEL");
    if (verb !== "CHECK") unanswered.push(id);
    const answer = await ask(verb, id, world);
    if (life.dead) return;
    if (verb !== "CHECK") unanswered.splice(unanswered.indexOf(id), 1);
    if (fate?.what !== "fails" || answer.code === 0) hear(verb, id, answer, world);
    else await takeBack(verb, id, answer, world);
  };
  const work: Promise<void>[] = [];
  for (const [index, call] of calls.entries()) {
    const mustWait =
      call.verb === "CHECK" || calls.slice(0, index).some(({ pod, verb }) => pod === call.pod && verb === "CHECK");
    work.push(one(call, mustWait ? [...work] : []));
  }
  await Promise.race([Promise.all(work), life.died]);
  if (!life.dead) return;
  for (const id of unanswered) model.lost(id);
  await restart(world);
}

/** A call that failed where something was meant to fail: a runtime deletes then, and that must work. */
async function takeBack(verb: PodCall["verb"], id: string, answer: CoreAnswer, world: World): Promise<void> {
  if (!answer.stdout.includes("planned failure")) return hear(verb, id, answer, world);
  if (verb === "CHECK") return;
  if (verb === "ADD") world.model.failed(id);
  else world.model.halfDeleted(id);
  hear("DEL", id, await ask("DEL", id, world), world);
}

function ask(verb: PodCall["verb"], id: string, { machine, core, model, netns }: World): Promise<CoreAnswer> {
  if (verb === "ADD" && !netns.has(id) && !model.sandbox(id).vanished) {
    machine.addNetns(id);
    netns.add(id);
  }
  const ips = model
    .sandbox(id)
    .addresses.map((address) => ({ address: `${address}/${address.includes(":") ? 128 : 32}` }));
  const env = { CNI_CONTAINERID: id, CNI_IFNAME: "eth0", CNI_NETNS: machine.pathOf(id) };
  return core.call(verb, env, verb === "CHECK" ? { prevResult: { cniVersion: "1.1.0", interfaces: [], ips } } : {});
}

function hear(verb: PodCall["verb"], id: string, { code, stdout }: CoreAnswer, { model, nowMs, netns }: World): void {
  if (verb === "ADD") {
    const ips = code === 0 ? (JSON.parse(stdout) as { ips: { address: string }[] }).ips : [];
    const addresses = ips.map(({ address }) => address.slice(0, address.indexOf("/")));
    model.added(id, { code, addresses }, nowMs, netns.has(id));
  } else if (verb === "DEL") model.deleted(id, code, nowMs);
  else model.checked(id, code);
}

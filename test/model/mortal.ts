// A kernel and a store that die with their agent: from the chosen call on nothing is done any more and nothing answers.

import { Fault } from "../../src/base/fault.ts";
import type { Store } from "../../src/ipam/store.ts";
import type { Kernel, Netns } from "../../src/kernel/contract.ts";

/** "before": the call is not done. "after": it is done, and nobody hears of it. */
export type When = "before" | "after";

/** What happens to an agent at one of its calls into kernel and store. */
export interface Fate {
  what: "dies" | "fails";
  /** Counted from 1. */
  at: number;
  when: When;
}

export interface Life {
  fate: Fate | undefined;
  /** Calls since the fate was set. */
  calls: number;
  readonly dead: boolean;
  /** Settles with the death. */
  readonly died: Promise<void>;
  /** What the kernel was asked for and has not answered yet: it ends, though nobody hears. */
  readonly underWay: Set<Promise<unknown>>;
  /** Namespaces that it holds open: they are let go when a process ends, however it does. */
  readonly open: Set<Netns>;
  die(): void;
}

/** An agent that lives for ever, until its fate says otherwise. */
export function createLife(): Life {
  const { promise, resolve } = Promise.withResolvers<void>();
  let dead = false;
  return {
    fate: undefined,
    calls: 0,
    get dead() {
      return dead;
    },
    died: promise,
    underWay: new Set(),
    open: new Set(),
    die: () => {
      dead = true;
      resolve();
    },
  };
}

/** What a call of a dead agent throws at once, since it cannot wait for ever: nobody is there to catch it. */
export class Dead extends Error {}

const never = <T>(): Promise<T> => new Promise<T>(() => {});

/** Counts one call; gives its fate, where it has one. */
function count(life: Life): Fate | undefined {
  life.calls += 1;
  return life.fate?.at === life.calls ? life.fate : undefined;
}

const planned = (): Fault => new Fault("kernel-refused", "planned failure");

async function call<T>(life: Life, work: () => Promise<T>): Promise<T> {
  if (life.dead) return never();
  const fate = count(life);
  if (fate?.when === "before") {
    if (fate.what === "fails") throw planned();
    life.die();
    return never();
  }
  const working = work();
  life.underWay.add(working);
  try {
    return await working;
  } finally {
    life.underWay.delete(working);
    if (fate?.what === "dies") life.die();
    // oxlint-disable-next-line no-unsafe-finally -- whatever the kernel answered, it is not heard
    if (life.dead) await never();
    // oxlint-disable-next-line no-unsafe-finally -- as above
    if (fate?.what === "fails") throw planned();
  }
}

function callNow<T>(life: Life, work: () => T): T {
  if (life.dead) throw new Dead();
  const fate = count(life);
  if (fate?.when === "before") {
    if (fate.what === "fails") throw planned();
    life.die();
    throw new Dead();
  }
  const result = work();
  if (fate?.what === "dies") {
    life.die();
    throw new Dead();
  }
  return result;
}

/** Gives `kernel` as an agent with that life has it. */
export function mortalKernel(kernel: Kernel, life: Life): Kernel {
  const wrap = (netns: Netns): Netns =>
    Object.assign(Object.create(netns) as Netns, {
      apply: (ops: Parameters<Netns["apply"]>[0]) => call(life, () => netns.apply(ops.map(unwrapPeer))),
      link: (ref: Parameters<Netns["link"]>[0]) => call(life, () => netns.link(ref)),
      links: () => call(life, () => netns.links()),
      addresses: () => call(life, () => netns.addresses()),
      routes: () => call(life, () => netns.routes()),
      neighbours: () => call(life, () => netns.neighbours()),
      writeSysctls: (values: Parameters<Netns["writeSysctls"]>[0]) => call(life, () => netns.writeSysctls(values)),
      close: () => {
        life.open.delete(netns);
        netns.close();
      },
      real: netns,
    });
  const { guard, conntrack } = kernel;
  return {
    ...kernel,
    node: wrap(kernel.node),
    openNetns: (path) =>
      callNow(life, () => {
        const netns = kernel.openNetns(path);
        life.open.add(netns);
        return wrap(netns);
      }),
    guard: {
      ensure: (entries) => call(life, () => guard.ensure(entries)),
      admit: (entries) => call(life, () => guard.admit(entries)),
      withdraw: (entries) => call(life, () => guard.withdraw(entries)),
      list: () => call(life, () => guard.list()),
      prune: () => call(life, () => guard.prune()),
    },
    conntrack: {
      forget: (addresses) => call(life, () => conntrack.forget(addresses)),
      cut: (addresses, isUnwanted) => call(life, () => conntrack.cut(addresses, isUnwanted)),
      list: (addresses) => call(life, () => conntrack.list(addresses)),
    },
  };
}

type Op = Parameters<Netns["apply"]>[0][number];

/** An operation that names another namespace needs the one that the kernel itself gave. */
function unwrapPeer(op: Op): Op {
  if (op.op !== "link.addVeth") return op;
  const real: unknown = Reflect.get(op.peer.netns, "real");
  return { ...op, peer: { ...op.peer, netns: real === undefined ? op.peer.netns : (real as Netns) } };
}

/** Gives `store` as an agent with that life has it. */
export function mortalStore(store: Store, life: Life): Store {
  return {
    read: () => callNow(life, () => store.read()),
    plan: (...planned) => callNow(life, () => store.plan(...planned)),
    ready: (id) => callNow(life, () => store.ready(id)),
    release: (id, cooling) => callNow(life, () => store.release(id, cooling)),
    free: (addresses) => callNow(life, () => store.free(addresses)),
    setFacts: (facts) => callNow(life, () => store.setFacts(facts)),
    close: () => {},
  };
}

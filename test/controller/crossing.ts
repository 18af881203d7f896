// One place that every call of a replica to the API server is led over, and what may happen to it there.

import type { Kube } from "../../src/kube/contract.ts";

/** Told of each call: `what` names it, `call` makes it. Gives its answer, or never settles. */
export type Cross = <R>(what: string, call: () => Promise<R>) => Promise<R>;

/** The client, with every call but `follow` led over `cross`. */
export function crossedKube(kube: Kube, cross: Cross): Kube {
  return {
    ...kube,
    get: (kind, ref, options) => cross(`GET ${kind.plural} ${ref.name}`, () => kube.get(kind, ref, options)),
    list: (kind, options) => cross(`LIST ${kind.plural}`, () => kube.list(kind, options)),
    create: (kind, object, options) =>
      cross(`POST ${kind.plural} ${object.metadata.name}`, () => kube.create(kind, object, options)),
    replace: (kind, object, options) =>
      cross(`PUT ${kind.plural} ${object.metadata.name}`, () => kube.replace(kind, object, options)),
    patch: (kind, ref, patch, options) =>
      cross(`PATCH ${kind.plural} ${ref.name}`, () => kube.patch(kind, ref, patch, options)),
    remove: (kind, ref, options) => cross(`DELETE ${kind.plural} ${ref.name}`, () => kube.remove(kind, ref, options)),
  };
}

/** What befalls the n-th call (from 1) of a replica. */
export interface Fate {
  call: number;
  /** Calls of other names are not counted. */
  of?: RegExp;
  /**
   * "before": the replica dies and the call is never made. "after": it is made and the replica dies before the answer. "stall": the
   * call waits until `wake`, and so does whoever waits for it.
   */
  what: "before" | "after" | "stall";
}

export interface Life {
  cross: Cross;
  /** Calls so far. */
  calls(): number;
  /** Settles when the fate has come; the replica's work stands still then. */
  struck: Promise<void>;
  /** Lets a stalled call be made. */
  wake(): void;
  /** The call that was struck. */
  last(): string;
}

/** A replica's life; without a fate nothing befalls it. */
export function createLife(fate?: Fate): Life {
  let calls = 0;
  let last = "";
  let dead = false;
  const struck = Promise.withResolvers<void>();
  const waking = Promise.withResolvers<void>();
  const never = new Promise<never>(() => {});
  return {
    cross: async (what, call) => {
      if (dead) return await never;
      if (fate?.of?.test(what) === false) return await call();
      calls += 1;
      if (fate === undefined || calls !== fate.call) return await call();
      last = what;
      if (fate.what === "stall") {
        struck.resolve();
        await waking.promise;
        return await call();
      }
      dead = true;
      if (fate.what === "after") await call().catch(() => {});
      struck.resolve();
      return await never;
    },
    calls: () => calls,
    struck: struck.promise,
    wake: () => waking.resolve(),
    last: () => last,
  };
}

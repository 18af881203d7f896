// The fake kernel's source guard: a table that is there or not, whole or damaged, and the entries in it.

import { Fault } from "../base/fault.ts";
import { type Guard, type GuardEntry, nftablesThread, ownTables } from "./contract.ts";
import { type GuardKeys, guardEntry, guardKeys, guardSetNames } from "./nftables/guard-keys.ts";

export type GuardDamage = "rules flushed" | "table deleted";

export interface FakeGuard {
  guard: Guard;
  /** What another program can do to the table: flush its rules, or delete it. */
  damage: (how: GuardDamage) => void;
}

export interface FakeGuardDeps {
  /** Called before each call; throws where that is to fail. What it gives is called after it. */
  begin: (call: `guard.${keyof Guard}`) => () => void;
  /** Called where the rulesets of the namespace have changed, with the name of who did it. */
  committed: (by: string, tables?: readonly string[]) => void;
}

export function createFakeGuard({ begin, committed }: FakeGuardDeps): FakeGuard {
  /** Entries by set and key; undefined where there is no table. */
  let held: Map<string, GuardEntry> | undefined;
  let hasRules = false;

  /** One call: its effect is at once, so calls take effect in the order in which they are made. */
  async function run<T>(call: `guard.${keyof Guard}`, effect: () => T): Promise<T> {
    const end = begin(call);
    const result = effect();
    end();
    return result;
  }

  const guard: Guard = {
    ensure: (entries) =>
      run("guard.ensure", () => {
        const wanted = entriesByKey(guardKeys(entries));
        const isRight = hasRules && held?.size === wanted.size && wanted.keys().every((key) => held?.has(key));
        held = wanted;
        hasRules = true;
        if (!isRight) committed(nftablesThread);
        return !isRight;
      }),
    admit: (entries) =>
      run("guard.admit", () => {
        const wanted = entriesByKey(guardKeys(entries));
        if (wanted.size === 0) return;
        if (held === undefined) throw new Fault("kernel-missing", "admit sources to the guard: the kernel says ENOENT");
        const before = held.size;
        for (const [key, entry] of wanted) held.set(key, entry);
        if (held.size > before) committed(nftablesThread); // what changes nothing is no commit
      }),
    withdraw: (entries) =>
      run("guard.withdraw", () => {
        const before = held?.size;
        for (const key of entriesByKey(guardKeys(entries)).keys()) held?.delete(key);
        if (held?.size !== before) committed(nftablesThread);
      }),
    list: () => run("guard.list", () => held && [...held.values()].map((entry) => ({ ...entry }))),
    prune: () =>
      run("guard.prune", () => {
        held = undefined;
        committed(nftablesThread);
      }),
  };
  return {
    guard,
    damage: (how) => {
      if (how === "table deleted") held = undefined;
      hasRules = false;
      committed("nft", [ownTables.guard]);
    },
  };
}

function entriesByKey(keys: GuardKeys): Map<string, GuardEntry> {
  return new Map(
    guardSetNames.flatMap((set) => [...keys[set]].map(([text, key]) => [`${set} ${text}`, guardEntry(key)])),
  );
}

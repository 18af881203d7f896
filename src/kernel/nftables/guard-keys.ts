// Entries of the guard as keys of its sets: a link name in 16 bytes, then the address, if there is one.

import { assert } from "../../base/assert.ts";
import { type Ip, ipBytes, ipFamily, ipFromBytes } from "../../net/ip.ts";
import type { GuardEntry } from "../contract.ts";
import { guardSets, hostLinkPrefix } from "./guard-table.ts";

/** Entries that a guard holds at most: the pods of a node at their hard limit, with room for several addresses each. */
export const guardEntriesMax = 8192;

/** IFNAMSIZ: a link name and its closing NUL. */
const linkFieldLen = 16;

const keyLens = { ok4: linkFieldLen + 4, ok6: linkFieldLen + 16, any: linkFieldLen } as const;

export type GuardSet = keyof typeof keyLens;
export const guardSetNames: readonly GuardSet[] = [guardSets[4], guardSets[6], guardSets.any];

/** The keys of each set, by their bytes as Latin-1 text, so that equal ones are one. */
export type GuardKeys = Record<GuardSet, ReadonlyMap<string, Uint8Array>>;

/** The keys of `entries`. Links must be ours by their name: the guard looks at no other, so an entry for one would promise what does not happen. */
export function guardKeys(entries: readonly GuardEntry[]): GuardKeys {
  assert(entries.length <= guardEntriesMax, `at most ${guardEntriesMax} guard entries, not ${entries.length}`);
  const none = (): Map<string, Uint8Array> => new Map();
  const keys = { ok4: none(), ok6: none(), any: none() };
  for (const { link, address } of entries) {
    const key = guardKey(link, address);
    const set = address === "any" ? guardSets.any : guardSets[ipFamily(address)];
    keys[set].set(Buffer.from(key).toString("latin1"), key);
  }
  return keys;
}

/** The same from what the kernel holds; keys of another length are not ours and left out. */
export function indexKeys(set: GuardSet, keys: readonly Uint8Array[]): ReadonlyMap<string, Uint8Array> {
  const ours = keys.filter((key) => key.length === keyLens[set]);
  return new Map(ours.map((key) => [Buffer.from(key).toString("latin1"), key]));
}

/** The entry that a key stands for. */
export function guardEntry(key: Uint8Array): GuardEntry {
  const field = Buffer.from(key.subarray(0, linkFieldLen));
  const nul = field.indexOf(0);
  const link = field.toString("utf8", 0, nul < 0 ? linkFieldLen : nul);
  return { link, address: key.length === linkFieldLen ? "any" : ipFromBytes(key.subarray(linkFieldLen)) };
}

/** Those of `keys` for which `others` answers `held`. */
export function selectKeys(keys: GuardKeys, others: GuardKeys, held: boolean): GuardKeys {
  const select = (set: GuardSet) => new Map([...keys[set]].filter(([text]) => others[set].has(text) === held));
  return { ok4: select("ok4"), ok6: select("ok6"), any: select("any") };
}

function guardKey(link: string, address: Ip | "any"): Uint8Array {
  const name = Buffer.from(link);
  assert(
    link.startsWith(hostLinkPrefix) && name.length < linkFieldLen && !name.includes(0),
    `the guarded link "${link}" begins with "${hostLinkPrefix}" and has at most ${linkFieldLen - 1} bytes`,
  );
  const bytes = address === "any" ? [] : ipBytes(address);
  const key = Buffer.alloc(linkFieldLen + bytes.length);
  key.set(name);
  key.set(bytes, linkFieldLen);
  return key;
}

// The Store contract in memory: for tests, and for anything that need not survive its process.

import { Fault } from "../base/fault.ts";
import type { Ip } from "../net/ip.ts";
import { attachmentKey, type Store, type StoredAttachment } from "./store.ts";

/** Makes an empty store. */
export function createMemoryStore(): Store {
  const attachments = new Map<string, StoredAttachment>();
  const cooling = new Map<Ip, number>();
  let facts: Record<string, string> = {};

  return {
    read: () => ({
      attachments: structuredClone(sorted(attachments).map(([, stored]) => stored)),
      cooling: sorted(cooling).map(([address, untilMs]) => ({ address, untilMs })),
      facts: { ...facts },
    }),
    plan: (attachment, state = "planned") => {
      const key = attachmentKey(attachment);
      if (attachments.has(key)) throw new Fault("store-failed", `attachment ${key} is already journalled`);
      attachments.set(key, { attachment: structuredClone(attachment), state });
    },
    ready: (id) => {
      const stored = attachments.get(attachmentKey(id));
      if (stored === undefined) throw new Fault("store-failed", `attachment ${attachmentKey(id)} is not journalled`);
      stored.state = "ready";
    },
    release: (id, cooled) => {
      attachments.delete(attachmentKey(id));
      for (const { address, untilMs } of cooled) cooling.set(address, untilMs);
    },
    free: (addresses) => {
      for (const address of addresses) cooling.delete(address);
    },
    setFacts: (more) => {
      facts = { ...facts, ...more };
    },
    close: () => {},
  };
}

function sorted<K extends string, V>(map: ReadonlyMap<K, V>): [K, V][] {
  return [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

// The Store contract in memory: for tests, and for anything that need not survive its process.

import { Fault } from "../base/fault.ts";
import type { Ip } from "../net/ip.ts";
import { attachmentKey, type Store, type StoredAttachment } from "./store.ts";

/** Makes an empty store. */
export function createMemoryStore(): Store {
  const attachments = new Map<string, StoredAttachment>();
  /** Absent: free. undefined: leased. A number: cooling until then. */
  const addresses = new Map<Ip, number | undefined>();
  let facts: Record<string, string> = {};

  return {
    read: () => ({
      attachments: structuredClone([...attachments.values()]),
      cooling: [...addresses].flatMap(([address, untilMs]) => (untilMs === undefined ? [] : [{ address, untilMs }])),
      facts: { ...facts },
    }),
    plan: (attachment) => {
      const key = attachmentKey(attachment);
      if (attachments.has(key)) throw new Fault("store-failed", `attachment ${key} is already journalled`);
      const taken = attachment.addresses.find((address) => addresses.has(address));
      if (taken !== undefined) throw new Fault("store-failed", `address ${taken} is already leased or cooling`);
      attachments.set(key, { attachment: structuredClone(attachment), state: "planned" });
      for (const address of attachment.addresses) addresses.set(address, undefined);
    },
    ready: (id) => {
      const stored = attachments.get(attachmentKey(id));
      if (stored === undefined) throw new Fault("store-failed", `attachment ${attachmentKey(id)} is not journalled`);
      stored.state = "ready";
    },
    release: (id, cooling) => {
      const key = attachmentKey(id);
      const stored = attachments.get(key);
      if (stored === undefined) return;
      attachments.delete(key);
      for (const address of stored.attachment.addresses) addresses.delete(address);
      for (const { address, untilMs } of cooling) {
        if (stored.attachment.addresses.includes(address)) addresses.set(address, untilMs);
      }
    },
    free: (cooled) => {
      for (const address of cooled) if (addresses.get(address) !== undefined) addresses.delete(address);
    },
    setFacts: (more) => {
      facts = { ...facts, ...more };
    },
    close: () => {},
  };
}

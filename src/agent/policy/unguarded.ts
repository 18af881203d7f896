// The links of pods that may send from any address: the guard's entries for them follow what policy says of their pods.

import { isFault } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { attachmentKey, type AttachmentId } from "../../ipam/store.ts";
import type { Guard } from "../../kernel/contract.ts";
import { anySource } from "../plan.ts";
import type { Judged } from "./subjects.ts";

export interface Unguarded {
  /** Links that the kernel may let send from any address now. */
  open: () => Promise<ReadonlySet<string>>;
  /** Brings the kernel's entries for these pods to what is said of them; the loop of the guard does the rest, and repairs. */
  follow: (judged: readonly Judged[]) => Promise<void>;
  /** The same for a pod that is being attached: its link is not there yet. */
  note: (judged: Judged) => void;
  /** Undefined where nobody has said yet: what the kernel has stays. */
  isUnguarded: (id: AttachmentId) => boolean | undefined;
}

export function createUnguarded({ guard, log }: { guard: Guard; log: Log }): Unguarded {
  /** By attachment. */
  let known = new Map<string, boolean>();
  /** Links that the kernel lets send from any address; undefined before it was asked. */
  let open: Set<string> | undefined;

  const openNow = async (): Promise<Set<string>> =>
    (open ??= new Set(((await guard.list()) ?? []).flatMap(({ link, address }) => (address === "any" ? [link] : []))));

  return {
    open: openNow,
    follow: async (judged) => {
      known = new Map(judged.map(({ key, isUnguarded }) => [key, isUnguarded]));
      const held = await openNow();
      const links = new Map(judged.map((one) => [one.attachment.wire.hostLink, one]));
      const close = [...held].filter((link) => links.get(link)?.isUnguarded !== true);
      const add = [...links].filter(([link, one]) => one.isUnguarded && !held.has(link)).map(([link]) => link);
      try {
        if (close.length > 0) await guard.withdraw(close.map(anySource));
        if (add.length > 0) await guard.admit(add.map(anySource));
      } catch (error) {
        open = undefined; // it is not known what was done
        if (isFault(error, "kernel-missing")) return; // the guard's own loop loads it with what is said here
        throw error;
      }
      for (const link of close) held.delete(link);
      for (const link of add) held.add(link);
      if (close.length > 0) log.warn({ links: close }, "pods send from their own addresses only again");
      if (add.length > 0) log.warn({ links: add }, "pods may send from any address: their source guard is off");
    },
    note: ({ key, isUnguarded, attachment }) => {
      known.set(key, isUnguarded);
      if (isUnguarded) open?.add(attachment.wire.hostLink); // ADD lets it
    },
    isUnguarded: (id) => known.get(attachmentKey(id)),
  };
}

// The node's addresses and attachments in use: the pure lease book and the store, always changed together.

import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import { pause } from "../base/pause.ts";
import { uptimeMs } from "../base/uptime.ts";
import { cidrContains } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import * as leases from "./leases.ts";
import {
  type Attachment,
  type AttachmentId,
  type AttachmentState,
  attachmentKey,
  type Blocks,
  type Delegate,
  type Store,
  type StoredAttachment,
} from "./store.ts";

/** Attachments a node can hold at most: the hard limit of pods on a node. */
export const attachmentsMax = 1024;

/** How long a released address rests before it is given again, in `routes` and `ranges` mode. */
export const coolDefaultMs = 60_000;

export interface PoolOptions {
  /** What the node owns at first. */
  blocks: Blocks;
  store: Store;
  coolMs?: number;
  /** Wall clock in ms, for people; tests pass their own. */
  now?: () => number;
  /** Ms since boot, for cooling: the wall clock may be set by hours while addresses cool. Tests pass their own. */
  uptime?: () => number;
}

/** An attachment as the pool holds it. */
export interface Held {
  attachment: Attachment;
  state: AttachmentState;
  /** Its removal has begun: whatever was withdrawn for it must not come back. */
  leaving: boolean;
}

/** An attachment that is yet to get its addresses. */
export type Draft = Omit<Attachment, keyof Given>;
export type Given = Pick<Attachment, "addresses" | "createdMs">;

export interface Pool {
  blocks(): Blocks;
  /** The node owns these from now on, and no others. Addresses in use outside of them stay their attachments' until those end. */
  setBlocks(blocks: Blocks): void;
  /**
   * Takes one free address of every family that the blocks serve, as wanted, for this process alone: `journal` must follow.
   * @throws Fault "pool-empty", "address-taken", "unsupported-value", "store-failed"
   */
  reserve<D extends Draft>(draft: D, wanted?: leases.Wanted): D & Given;
  /** Takes an attachment whose addresses another plugin has chosen: they are not this pool's. `journal` must follow. @throws Fault "store-failed" */
  adopt<D extends Draft>(draft: D & { delegate: Delegate }, addresses: Ip[]): D & Given;
  /** Writes the reserved attachment down as planned. @throws Fault "store-failed" */
  journal(attachment: Attachment): void;
  /** The attachment has all it needs. */
  confirm(id: AttachmentId): void;
  /** Takes an attachment that serves already, found in the kernel. @throws Fault "store-failed"; "address-taken" where an address of it is another's */
  restore(attachment: Attachment): void;
  /** Says whose an attachment is that was restored without its pod. It is not written down: the next start asks again. */
  identify(id: AttachmentId, pod: NonNullable<Attachment["pod"]>): void;
  /** Ends an attachment. `cool`: false only where no packet can have used its addresses. */
  release(id: AttachmentId, options: { cool: boolean }): void;
  /** Its removal begins; it stays known until `release`. */
  leave(id: AttachmentId): void;
  find(id: AttachmentId): Held | undefined;
  all(): Held[];
  /** Addresses that attachments have left and nobody has cleaned up after yet (`cleaned`); those of another IPAM plugin too. */
  dead(): Ip[];
  /** Nothing in the kernel remembers these any more. */
  cleaned(addresses: readonly Ip[]): void;
  /** Addresses whose cooling has ended, and which are not withheld; they are still not given out. */
  cooled(): Ip[];
  /** From now on these are not given, nor freed when they have cooled; what they are is asked each time. */
  withhold(withheld: leases.Withheld): void;
  /** Makes cooled addresses free to give again, and wakes who waits for one. */
  free(addresses: readonly Ip[]): void;
  usage(): leases.FamilyUsage[];
  /** When the next cooling address ends, in ms; undefined where none cools. */
  nextCooledInMs(): number | undefined;
  /** Settles when an address has become free, `timeoutMs` has passed or `signal` aborts, whichever is first. */
  whenFreed(timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** Calls back, for ever, after each change of which attachments serve. */
  watch(onChange: () => void): void;
  facts(): Readonly<Record<string, string>>;
  setFacts(facts: Readonly<Record<string, string>>): void;
}

/** Reads the store and takes charge of it. @throws Fault "store-failed" where two of its attachments hold one address */
export function openPool(options: PoolOptions): Pool {
  const { store, coolMs = coolDefaultMs, now = Date.now, uptime = uptimeMs } = options;
  const contents = store.read();
  const book = leases.emptyBook(options.blocks);
  const attachments = new Map<string, Held>(
    contents.attachments.map((stored) => [attachmentKey(stored.attachment), { ...stored, leaving: false }]),
  );
  let facts = contents.facts;
  // Whatever cools at start may not have been cleaned up after: its agent may have ended before.
  const dead = new Set<Ip>();
  const [waiters, wake] = audience();
  const [watchers, changed] = audience();

  // The one given last is where the search for the next begins.
  for (const { attachment } of contents.attachments.toSorted(byAge)) {
    for (const address of ofPool(attachment)) leases.lease(book, address);
  }
  for (const { address, untilMs } of contents.cooling) {
    // An address in use wins over a note that it cools.
    if (book.leased.has(address)) continue;
    // A note of an earlier boot that has passed by this boot's clock is older than a cooling all the same: so is this boot.
    book.cooling.set(address, Math.min(untilMs, uptime() + coolMs));
    dead.add(address);
  }

  const refuseMore = (): void => {
    if (attachments.size < attachmentsMax) return;
    throw new Fault("pool-empty", `this node holds ${attachmentsMax} attachments, the most it may; use more nodes`);
  };

  const keep = <A extends Attachment>(attachment: A): A => {
    const key = attachmentKey(attachment);
    if (attachments.has(key)) throw new Fault("store-failed", `attachment ${key} is already journalled`);
    attachments.set(key, { attachment, state: "planned", leaving: false });
    return attachment;
  };

  return {
    blocks: () => book.blocks,
    setBlocks: (blocks) => {
      leases.moveTo(book, blocks);
      wake();
    },
    reserve: (draft, wanted = { addresses: [], ranges: [] }) => {
      refuseMore();
      const addresses = leases.chooseAddresses(book, wanted, uptime());
      const attachment = keep({ ...draft, addresses, createdMs: now() });
      for (const address of addresses) leases.lease(book, address);
      return attachment;
    },
    adopt: (draft, addresses) => {
      refuseMore();
      return keep({ ...draft, addresses, createdMs: now() });
    },
    journal: (attachment) => store.plan(attachment),
    confirm: (id) => {
      const stored = present(attachments.get(attachmentKey(id)), `attachment ${attachmentKey(id)}`);
      store.ready(id);
      stored.state = "ready";
      changed();
    },
    restore: (attachment) => {
      const key = attachmentKey(attachment);
      const taken = ofPool(attachment).find((address) => book.leased.has(address));
      if (taken !== undefined) throw new Fault("address-taken", `address ${taken} of ${key} is another's already`);
      // As ready at once: an agent that ended in between would leave what looks like half an ADD, which the next takes back.
      store.plan(attachment, "ready");
      attachments.set(key, { attachment, state: "ready", leaving: false });
      for (const address of ofPool(attachment)) {
        book.cooling.delete(address);
        leases.lease(book, address);
      }
      changed();
    },
    identify: (id, pod) => {
      const stored = attachments.get(attachmentKey(id));
      if (stored === undefined) return;
      stored.attachment = { ...stored.attachment, pod };
      changed();
    },
    release: (id, { cool }) => {
      const stored = attachments.get(attachmentKey(id));
      if (stored === undefined) return;
      const addresses = ofPool(stored.attachment);
      const untilMs = uptime() + coolMs;
      // One outside the blocks is given by somebody else: a delegate that was forgotten with a lost journal, or by no one any more.
      const cooling = cool
        ? addresses.filter((address) => book.blocks.some((block) => cidrContains(block, address)))
        : [];
      store.release(
        id,
        cooling.map((address) => ({ address, untilMs })),
      );
      attachments.delete(attachmentKey(id));
      for (const address of addresses) leases.unlease(book, address, cooling.includes(address) ? untilMs : undefined);
      if (cool) for (const address of stored.attachment.addresses) dead.add(address);
      if (!cool) wake();
      changed();
    },
    leave: (id) => {
      const held = attachments.get(attachmentKey(id));
      if (held === undefined) return;
      held.leaving = true;
      changed();
    },
    find: (id) => attachments.get(attachmentKey(id)),
    all: () => [...attachments.values()],
    dead: () => [...dead],
    cleaned: (addresses) => {
      for (const address of addresses) dead.delete(address);
    },
    cooled: () => leases.cooled(book, uptime()),
    free: (addresses) => {
      store.free(addresses);
      for (const address of addresses) book.cooling.delete(address);
      if (addresses.length > 0) wake();
    },
    withhold: (withheld) => {
      book.withheld = withheld;
    },
    usage: () => leases.usage(book, uptime()),
    nextCooledInMs: () => nextCooledInMs(book, uptime()),
    whenFreed: async (timeoutMs, signal) => {
      let wake: (() => void) | undefined;
      await pause(timeoutMs, signal, (end) => {
        wake = end;
        waiters.add(end);
      });
      if (wake !== undefined) waiters.delete(wake);
    },
    watch: (onChange) => void watchers.add(onChange),
    facts: () => facts,
    setFacts: (more) => {
      // Not written again: a start on a full disk has nothing else to write, and can serve what is there.
      if (Object.entries(more).every(([name, value]) => facts[name] === value)) return;
      store.setFacts(more);
      facts = { ...facts, ...more };
    },
  };
}

function nextCooledInMs(book: leases.LeaseBook, nowMs: number): number | undefined {
  const times = leases.familiesOf(book.blocks).map((family) => leases.nextCooledInMs(book, family, nowMs));
  const known = times.filter((timeMs) => timeMs !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** Callbacks, and the function that calls them all. */
function audience(): [Set<() => void>, () => void] {
  const members = new Set<() => void>();
  return [
    members,
    () => {
      for (const tell of members) tell();
    },
  ];
}

/** The addresses that the pool has to look after. */
function ofPool({ addresses, delegate }: Attachment): readonly Ip[] {
  return delegate === undefined ? addresses : [];
}

function byAge(a: StoredAttachment, b: StoredAttachment): number {
  return a.attachment.createdMs - b.attachment.createdMs;
}

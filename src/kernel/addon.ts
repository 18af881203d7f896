// The typed face of native/addon.c, the only door to the kernel: loads it once and says what each call does.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Fault } from "../base/fault.ts";

/** A file descriptor that the addon owns: closed by `close`, or when it is collected; never while a call on it is under way. */
export interface Descriptor {
  readonly __descriptor: unique symbol;
}

export type OnCaller = (connection: Descriptor, pid: number, uid: number, bytes: Buffer) => void;

/** Which of the addon's own threads does the work: 0 rtnetlink and sysctls, 1 nftables, 2 what takes long: removing links, reading tracked connections. */
export type Lane = 0 | 1 | 2;

/** Most calls of one lane that are not yet settled; one more fails with EAGAIN. */
export const laneQueueLenMax = 1024;

/**
 * Errors: every function throws (or rejects with) an Error whose `code` is the errno name ("ENOENT") and whose `message`
 * names the step ("setns: Operation not permitted"). Arguments of the wrong kind are EINVAL, a closed descriptor is EBADF.
 * None of them leaves a thread in a foreign namespace: the process aborts instead. Calls under way keep the process alive;
 * monitors and an idle addon do not.
 */
export interface Addon {
  /** Opens a network namespace file. Throws EINVAL where the path is something else, and never waits, whatever it is. */
  openNetns(path: string): Descriptor;
  /** "device:inode" of an open namespace. */
  netnsId(netns: Descriptor): string;
  /** A file-descriptor number for IFLA_NET_NS_FD. It means this namespace until `netns` is closed, and for calls made before that until they settle. */
  descriptorNumber(netns: Descriptor): number;
  /** Opens a netlink socket of `protocol` (0 route, 12 netfilter) that lives in `netns` for good, with extended acks, capped acks and strict dump checking on. */
  openNetlink(netns: Descriptor, protocol: number): Descriptor;
  /**
   * Sends `request` (one or more netlink messages in one sendmsg) on `lane` and gives every answering byte.
   * It is complete when each message that carries NLM_F_ACK or NLM_F_DUMP (both of its bits) has had its NLMSG_ERROR or
   * NLMSG_DONE, or when a message that carries neither (a batch begin) is answered by an error; what has arrived by then is
   * given too. Answers to other sequence numbers are dropped. NLM_F_ACK on a batch begin or end waits for ever on kernels
   * that do not answer it (before 6.10).
   * Rejects: EAGAIN queue full, ETIMEDOUT no complete answer within `timeoutMs` (of kernel silence; 1 to 600,000), EMSGSIZE
   * answer over 64 MiB or request over 32 MiB, E2BIG over 65,536 messages, EINVAL messages that do not fill the request
   * exactly, ENOBUFS answers lost, EBADMSG an answer that is no netlink, EBUSY a monitored socket or one with calls under
   * way on another lane, EBADF closed, ECANCELED stopped, and what sendmsg itself refuses with.
   */
  call(lane: Lane, socket: Descriptor, request: Uint8Array, timeoutMs: number): Promise<Buffer>;
  /**
   * As `call`, for one dump whose length nobody knows: gives its first part, some 256 KiB, or all of it where it is shorter. The
   * kernel makes the rest as it is read, so the lane is free, and nothing piles up, until the next part is asked for. The
   * NLMSG_DONE or NLMSG_ERROR in a part says that it was the last. A call on the socket before that drops the rest.
   */
  firstPart(lane: Lane, socket: Descriptor, request: Uint8Array, timeoutMs: number): Promise<Buffer>;
  /** The next part of the answer to that same `request`, which is not sent again. */
  nextPart(lane: Lane, socket: Descriptor, request: Uint8Array, timeoutMs: number): Promise<Buffer>;
  /**
   * Joins the multicast `groups` (at most 64; none where the kernel was told by `call` to send to this very socket) and calls back
   * with each datagram, until closed. An overrun of the socket, or of
   * the 1,024 datagrams that may wait for the event loop, calls back with undefined, at its place in the order: events were
   * lost. EBUSY where calls on the socket are under way; EAGAIN beyond 64 monitors.
   */
  monitor(socket: Descriptor, groups: readonly number[], onDatagram: (bytes: Buffer | undefined) => void): void;
  /**
   * Writes files below /proc/sys/net inside `netns`, in order, on the rtnetlink lane: keys such as "ipv4/conf/eth0.1/rp_filter".
   * Rejects at the first that fails; its index is `error.index`. Keys with a step ".." or a leading "/" are EINVAL, and
   * nothing is written then. At most 1,024 keys, 256 bytes each, values of 64 KiB.
   */
  writeSysctls(netns: Descriptor, keys: readonly string[], values: readonly string[]): Promise<void>;
  /** Reads such files, without the line break at their end; undefined for one that does not exist. */
  readSysctls(netns: Descriptor, keys: readonly string[]): Promise<(string | undefined)[]>;
  /**
   * How many eBPF programs are attached to each link of `netns` by tcx: two numbers for each index, ingress and egress, in their order. A
   * link that is gone has none, nor has any where the kernel has no tcx (before Linux 6.6). One call for all of them, at most 16,384, on the
   * rtnetlink lane: some 2 us a link. Each of the two takes the kernel's lock of links (RTNL). Rejects: EPERM or ENOSYS where this program may not call bpf(2).
   */
  tcxPrograms(netns: Descriptor, links: readonly number[]): Promise<number[]>;
  /**
   * Listens on a new unix socket at `path`, mode 0600 whatever the umask, and calls back with each caller: its connection,
   * who it is by SO_PEERCRED (pid 0 for a process that we cannot see), and what it had sent by then, at most 64 KiB. Callers
   * come in on the event loop itself, without a thread between. A listener keeps the process alive until it is closed; its
   * file stays. A caller for whom there is no descriptor left is turned away.
   */
  listen(path: string, backlog: number, onCaller: OnCaller): Descriptor;
  /** Sends on a connection without waiting; gives how many bytes the socket took. Throws EPIPE where the caller is gone. */
  send(connection: Descriptor, bytes: Uint8Array): number;
  /** Gives the number of a connection to a new owner, who closes it; the descriptor counts as closed. */
  takeOver(connection: Descriptor): number;
  /**
   * Unmaps one of `parts` (1 to 65,536) of the pages of the program that runs, Node's own code and constants, and gives their length in bytes.
   * What is used again is mapped again from the page cache, 64 KiB at a time. It holds the event loop for as long as the kernel takes: some
   * 0.25 us a page.
   */
  releaseProgram(part: number, parts: number): number;
  /** Closes a descriptor and ends its monitor or listener; calls made before still settle. A second time is no error. */
  close(descriptor: Descriptor): void;
  /** Stops the threads and every monitor; calls not yet done reject with ECANCELED. Descriptors stay open, and a later call starts its thread anew. */
  stop(): void;
}

const addonPath = fileURLToPath(new URL("../../build/fairlead.node", import.meta.url));

let loaded: Addon | undefined;

/** Loads the addon. @throws Fault "machine-unfit" where it was not built. */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  try {
    const addon: Addon = createRequire(import.meta.url)(addonPath);
    loaded = addon;
    return addon;
  } catch (cause) {
    throw new Fault("machine-unfit", "the kernel addon build/fairlead.node cannot be loaded; run `make setup`", {
      cause,
    });
  }
}

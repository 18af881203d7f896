// One open network namespace: changes in batches, observations, settings.

import { Fault, isFault } from "../../base/fault.ts";
import type { Addon, Descriptor } from "../addon.ts";
import { type Netns, type Op, type OpResult, tcxLinksMax } from "../contract.ts";
import { readSysctls, writeSysctls } from "../sysctl.ts";
import { addressMessage, decodeAddress, dumpAddressesRequest } from "./address.ts";
import { type Batch, type Rename, batchBytes, batchPhrase, packBatches, packRename, readAnswers } from "./batch.ts";
import { classifierMessage, isProgram, decodeQueue, dumpFiltersRequest, dumpQueuesRequest } from "./classifier.ts";
import { decodeLink, dumpLinksRequest, linkMessage } from "./link.ts";
import { addonFault, netlinkProtocol } from "./message.ts";
import { decodeNeighbour, dumpNeighboursRequest, neighbourMessage } from "./neighbour.ts";
import { opPhrase } from "./ops.ts";
import { decodeRoute, dumpRoutesRequest, routeMessage } from "./route.ts";
import { decodeRule, dumpRulesRequest, ruleMessage } from "./rule.ts";
import { type Session, createSession, removalLane } from "./session.ts";

/** What else the kernel room needs of an open namespace: a descriptor that stays valid while it is used. */
export interface NetnsHandle {
  readonly descriptor: Descriptor;
  /** Keeps the descriptor open, even over `close`, until the function that it gives is called. */
  hold(): () => void;
}

export interface NetnsDeps {
  addon: Addon;
  /** Every namespace that this kernel has open: so that one can be another's peer, and all can be closed. */
  open: Map<Netns, NetnsHandle>;
}

/**
 * Opens the namespace at `path`, and a socket in it.
 * @throws Fault "netns-missing" where the path leads to no network namespace
 */
export function openNetns(path: string, deps: NetnsDeps): Netns {
  const { addon } = deps;
  const descriptor = openDescriptor(addon, path);
  try {
    return createNetns(descriptor, openSocket(addon, descriptor), deps);
  } catch (error) {
    addon.close(descriptor);
    throw error;
  }
}

function openSocket(addon: Addon, descriptor: Descriptor): Descriptor {
  try {
    return addon.openNetlink(descriptor, netlinkProtocol.route);
  } catch (cause) {
    throw addonFault("a netlink socket in a network namespace", cause);
  }
}

/** What open(2) says where there is no such namespace file; anything else (EMFILE, ENOMEM) is our own trouble. */
const missingErrnos = new Set(["ENOENT", "ENOTDIR", "EINVAL", "EACCES", "ELOOP", "ENAMETOOLONG", "ENXIO", "ESRCH"]);

function openDescriptor(addon: Addon, path: string): Descriptor {
  try {
    return addon.openNetns(path);
  } catch (cause) {
    const fault = addonFault(`opening network namespace ${path}`, cause);
    const errno = String(fault.data["errno"]);
    if (!missingErrnos.has(errno)) throw fault;
    const why = errno === "EINVAL" ? "is something else" : `cannot be opened (${errno})`;
    throw new Fault("netns-missing", `no network namespace at ${path}: it ${why}; has its pod gone?`, {
      cause,
      data: { path },
    });
  }
}

function createNetns(descriptor: Descriptor, socket: Descriptor, { addon, open }: NetnsDeps): Netns {
  const session = createSession(addon, socket);
  let removals: Session | undefined; // most namespaces never need one
  const { dump } = session;
  const handle = countedHandle(addon, descriptor);
  const releaseOwn = handle.hold();
  const peerHandle = (peer: Netns): NetnsHandle => {
    const found = open.get(peer);
    if (found === undefined) throw new Fault("kernel-refused", "the namespace for the peer was closed");
    return found;
  };
  const removalSession = (): Session => {
    removals ??= createSession(addon, openSocket(addon, descriptor), removalLane);
    return removals;
  };
  const netns: Netns = {
    id: addon.netnsId(descriptor),
    apply: async (ops) => {
      const batches = packBatches(
        ops,
        (peer) => addon.descriptorNumber(peerHandle(peer).descriptor),
        session.nextSequence,
      );
      // A number names a peer's namespace only while that is open: kept so until the kernel has read it.
      const peers = ops.flatMap((op) => (op.op === "link.addVeth" ? [peerHandle(op.peer.netns)] : []));
      const releases = peers.map((peer) => peer.hold());
      try {
        const results: OpResult[] = ops.map(() => ({}));
        for (const batch of batches) await sendBatch(batch, ops, results, batch.slow ? removalSession() : session);
        return results;
      } finally {
        for (const release of releases) release();
      }
    },
    link: (ref) => session.link(ref),
    carries: (ref) => session.carries(ref),
    links: () => dump("reading links", linkMessage.new, dumpLinksRequest(), decodeLink),
    addresses: () => dump("reading addresses", addressMessage.new, dumpAddressesRequest(), decodeAddress),
    routes: () => dump("reading routes", routeMessage.new, dumpRoutesRequest(), decodeRoute),
    rules: () => dump("reading rules", ruleMessage.new, dumpRulesRequest(), decodeRule),
    neighbours: () => dump("reading neighbours", neighbourMessage.new, dumpNeighboursRequest(), decodeNeighbour),
    programs: () => readPrograms(dump),
    tcxPrograms: (links) => readTcxPrograms(addon, descriptor, links),
    writeSysctls: (values) => writeSysctls(addon, descriptor, values),
    readSysctls: (keys) => readSysctls(addon, descriptor, keys),
    close: () => {
      open.delete(netns);
      session.close();
      removals?.close();
      releaseOwn();
    },
  };
  open.set(netns, handle);
  return netns;
}

/** Places on links that are asked for their filters: few have any. */
const filterPlacesMax = 4096;

async function readPrograms(dump: Session["dump"]): Promise<number[]> {
  const places = await dump("reading queues", classifierMessage.newQueue, dumpQueuesRequest(), decodeQueue);
  const found = new Set<number>();
  for (const place of places.flat().slice(0, filterPlacesMax)) {
    const request = dumpFiltersRequest(place);
    // Of a block that several links share the kernel answers without naming the link.
    const programs = await unlessGone(dump("reading filters", classifierMessage.newFilter, request, isProgram));
    if (programs.includes(true)) found.add(place.link);
  }
  return [...found];
}

/** What bpf(2) says where a filter of system calls, a lack of privileges or the kernel's configuration keeps it from us. */
const keptFromUs = new Set(["EPERM", "EACCES", "ENOSYS"]);

async function readTcxPrograms(
  addon: Addon,
  netns: Descriptor,
  links: readonly number[],
): Promise<number[] | undefined> {
  const asked = links.slice(0, tcxLinksMax);
  try {
    const counts = await addon.tcxPrograms(netns, asked);
    return asked.filter((_, at) => (counts[2 * at] ?? 0) + (counts[2 * at + 1] ?? 0) > 0);
  } catch (cause) {
    const fault = addonFault("reading programs attached by tcx", cause);
    if (keptFromUs.has(String(fault.data["errno"]))) return undefined;
    throw fault;
  }
}

/** A link can go while its filters are asked for. */
async function unlessGone<T>(reading: Promise<T[]>): Promise<T[]> {
  try {
    return await reading;
  } catch (error) {
    if (isFault(error, "kernel-missing", "kernel-refused")) return [];
    throw error;
  }
}

/** Closes the descriptor when the last who holds it lets go. */
function countedHandle(addon: Addon, descriptor: Descriptor): NetnsHandle {
  let holders = 0;
  return {
    descriptor,
    hold: () => {
      holders += 1;
      let held = true;
      return () => {
        if (!held) return;
        held = false;
        holders -= 1;
        if (holders === 0) addon.close(descriptor);
      };
    },
  };
}

/** Sends one batch and puts the answers to its operations into `results`. */
async function sendBatch(batch: Batch, ops: readonly Op[], results: OpResult[], session: Session): Promise<void> {
  const ready = batch.rename === undefined ? batch : await withIndex(batch.rename, results, session);
  if (ready === undefined) return;
  readAnswers(ready, await session.call(batchPhrase(ready, ops), batchBytes(ready)), ops, results);
}

/** A rename by name: the kernel wants the index. */
async function withIndex({ at, op }: Rename, results: OpResult[], session: Session): Promise<Batch | undefined> {
  try {
    const link = await session.link(op.link);
    if (link !== undefined) return packRename(op, at, link.index, session.nextSequence);
    results[at] = { fault: new Fault("kernel-missing", `${opPhrase(op)}: there is no such link`) };
  } catch (error) {
    if (!isFault(error, "kernel-refused")) throw error;
    results[at] = { fault: error };
  }
  return undefined;
}

// Connection tracking of one namespace: its table is read part by part, so that neither memory nor the event loop feels how long it is.

import { createSlicer } from "../../base/pause.ts";
import { Fault } from "../../base/fault.ts";
import { type Ip, ipFamily } from "../../net/ip.ts";
import type { Addon, Descriptor, Lane } from "../addon.ts";
import { type Connection, type Conntrack, connectionsMax, conntrackAddressesMax } from "../contract.ts";
import { batchMessagesMax } from "../netlink/batch.ts";
import { createWriter, written } from "../netlink/codec.ts";
import {
  addonFault,
  controlMessage,
  createSequence,
  errnoName,
  type Message,
  readVerdict,
  splitMessages,
  verdictFault,
  writeMessage,
  netlinkProtocol,
} from "../netlink/message.ts";
import { callTimeoutMs, removalLane } from "../netlink/session.ts";
import { createMatcher } from "./matcher.ts";
import {
  conntrackMessage,
  connectionId,
  decodeConnection,
  deleteConnectionRequest,
  dumpConnectionsRequest,
} from "./messages.ts";

/** Nobody waits for it who answers a pod, and a part takes less than the removal of a link. */
const lane: Lane = removalLane;
/** Parts of some 256 KiB, 1,000 entries each: a table of ten million. */
const partsMax = 10_000;
/** The longest that the event loop is kept from other work. */
const sliceMs = 2;

export interface ConntrackDeps {
  addon: Pick<Addon, "openNetlink" | "firstPart" | "nextPart" | "call" | "close">;
  netns: Descriptor;
  /** Throws once the kernel is closed: a call would start its threads anew. */
  mustBeOpen: (what: string) => void;
}

/** The connection tracking of the namespace behind `netns`. It keeps nothing open between calls; calls side by side do not meet. */
export function createConntrack({ addon, netns, mustBeOpen }: ConntrackDeps): Conntrack {
  const nextSequence = createSequence();

  /** Sockets of one call: a table half read would be in the way of the next. */
  async function withSockets<T>(what: string, work: (open: () => Descriptor) => Promise<T>): Promise<T> {
    const opened: Descriptor[] = [];
    try {
      return await work(() => {
        mustBeOpen(what);
        const socket = addon.openNetlink(netns, netlinkProtocol.netfilter);
        opened.push(socket);
        return socket;
      });
    } catch (error) {
      throw error instanceof Fault ? error : addonFault(what, error);
    } finally {
      for (const socket of opened) addon.close(socket);
    }
  }

  /** Reads the table once, and hands over the bodies of those entries in which the addresses have part. */
  async function eachPart(
    what: string,
    addresses: readonly Ip[],
    socket: Descriptor,
    visit: (bodies: Buffer[]) => Promise<void>,
  ): Promise<void> {
    const hasPart = createMatcher(addresses);
    const writer = createWriter(64);
    writeMessage(writer, dumpConnectionsRequest(commonFamily(addresses)), nextSequence(1));
    const request = written(writer);
    let part = await addon.firstPart(lane, socket, request, callTimeoutMs);
    for (let parts = 1; parts <= partsMax; parts += 1) {
      const messages = splitMessages(part);
      const isLast = endsWell(what, messages);
      await visit(messages.filter(({ type, body }) => type === conntrackMessage.new && hasPart(body)).map(bodyOf));
      if (isLast) return;
      mustBeOpen(what);
      part = await addon.nextPart(lane, socket, request, callTimeoutMs);
    }
    throw new Fault("kernel-refused", `${what}: the table has no end after ${partsMax} parts`);
  }

  /** Deletes those entries; gives how many were there, and why one was refused. */
  async function remove(
    what: string,
    bodies: readonly Buffer[],
    socket: Descriptor,
  ): Promise<{ gone: number; refused: Fault | undefined }> {
    const writer = createWriter();
    const first = nextSequence(bodies.length);
    for (const [at, body] of bodies.entries()) writeMessage(writer, deleteConnectionRequest(body), first + at);
    mustBeOpen(what);
    const answers = splitMessages(await addon.call(lane, socket, written(writer), callTimeoutMs));
    const verdicts = answers.filter(isControl).map(readVerdict);
    // Not there, or another one in its place.
    const refused = verdicts.find(({ errno }) => errno !== 0 && errnoName(errno) !== "ENOENT");
    return {
      gone: verdicts.filter(({ errno }) => errno === 0).length,
      refused: refused === undefined ? undefined : verdictFault(what, refused),
    };
  }

  async function forget(
    what: string,
    addresses: readonly Ip[],
    isUnwanted?: (connection: Connection) => boolean,
  ): Promise<number> {
    let gone = 0;
    let refused: Fault | undefined;
    const slice = createSlicer(sliceMs);
    await withSockets(what, async (open) => {
      let deleter: Descriptor | undefined; // most tables hold nothing of a pod that has ended
      await eachPart(what, addresses, open(), async (bodies) => {
        const unwanted: Buffer[] = [];
        for (const body of bodies) {
          await slice();
          if (isUnwanted === undefined || isUnwanted(decodeConnection(body))) unwanted.push(body);
        }
        for (let at = 0; at < unwanted.length; at += batchMessagesMax) {
          deleter ??= open();
          const outcome = await remove(what, unwanted.slice(at, at + batchMessagesMax), deleter);
          gone += outcome.gone;
          refused ??= outcome.refused;
        }
      });
    });
    if (refused !== undefined) throw refused;
    return gone;
  }

  async function list(what: string, addresses: readonly Ip[]): Promise<Connection[]> {
    // By what tells them apart: the kernel gives entries twice where one of their row goes while it reads.
    const found = new Map<string, Connection>();
    const slice = createSlicer(sliceMs);
    await withSockets(what, (open) =>
      eachPart(what, addresses, open(), async (bodies) => {
        for (const body of bodies) {
          await slice();
          const connection = decodeConnection(body);
          found.set(`${connectionId(body)} ${JSON.stringify(connection.original)}`, connection);
          if (found.size > connectionsMax) throw tooMany(what, connectionsMax, "connections", "fewer addresses");
        }
      }),
    );
    return [...found.values()];
  }

  return {
    forget: (addresses) => asked("forgetting connections", addresses, forget, () => 0),
    cut: (addresses, isUnwanted) =>
      asked(
        "cutting connections",
        addresses,
        (what, all) => forget(what, all, isUnwanted),
        () => 0,
      ),
    list: (addresses) => asked("listing connections", addresses, list, () => []),
  };
}

async function asked<T>(
  doing: string,
  addresses: readonly Ip[],
  work: (what: string, addresses: readonly Ip[]) => Promise<T>,
  nothing: () => T,
): Promise<T> {
  const what = `${doing} of ${addresses.length} address(es)`;
  if (addresses.length > conntrackAddressesMax)
    throw tooMany(what, conntrackAddressesMax, "addresses", "fewer at once");
  return addresses.length === 0 ? nothing() : work(what, addresses);
}

function tooMany(what: string, max: number, of: string, cure: string): Fault {
  return new Fault("kernel-refused", `${what}: more than ${max} ${of}; ask for ${cure}`);
}

function commonFamily(addresses: readonly Ip[]): 4 | 6 | undefined {
  const families = new Set(addresses.map(ipFamily));
  const [family] = families;
  return families.size === 1 ? family : undefined;
}

/** True where the part is the last one. @throws what the kernel says instead of the table */
function endsWell(what: string, messages: readonly Message[]): boolean {
  const end = messages.find(isControl);
  if (end === undefined) return false;
  const verdict = readVerdict(end);
  // nfnetlink's answer where nobody has registered for connection tracking: then there is nothing tracked.
  if (verdict.errno !== 0 && errnoName(verdict.errno) !== "EINVAL") throw verdictFault(what, verdict);
  return true;
}

function isControl({ type }: Message): boolean {
  return type === controlMessage.error || type === controlMessage.done;
}

function bodyOf({ body }: Message): Buffer {
  return body;
}

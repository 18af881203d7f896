// Questions over one rtnetlink socket: one link by its name or index, and dumps that are whole or not given at all.

import { Fault } from "../../base/fault.ts";
import type { Addon, Descriptor, Lane } from "../addon.ts";
import type { Link, LinkRef } from "../contract.ts";
import { createWriter, written } from "./codec.ts";
import { decodeCarries, decodeLink, getLinkRequest, linkMessage } from "./link.ts";
import {
  type Message,
  type Request,
  addonFault,
  controlMessage,
  createSequence,
  errnoName,
  messageFlag,
  readVerdict,
  splitMessages,
  verdictFault,
  writeMessage,
} from "./message.ts";
import { linkPhrase } from "./ops.ts";

/** Silence of the kernel after which a call fails; the lock that all of them need is held for seconds on a node in trouble. */
export const callTimeoutMs = 10_000;
/** A dump that changed while it was read is read again; so often in all. */
export const dumpTriesMax = 5;

/** Threads of the addon: most changes take microseconds, but removing a link waits some 20 ms after the kernel has let go of its lock. */
export const routeLane = 0;
export const removalLane = 2;

export interface Session {
  nextSequence(this: void, count: number): number;
  /** One send and its whole answer; `what` names the undertaking in an error. */
  call(what: string, bytes: Uint8Array): Promise<Buffer>;
  link(ref: LinkRef): Promise<Link | undefined>;
  carries(ref: LinkRef): Promise<boolean>;
  /** Everything of one kind: the messages of `type` that `decode` has a value for. */
  dump<T>(
    this: void,
    what: string,
    type: number,
    request: Request,
    decode: (body: Buffer) => T | undefined,
  ): Promise<T[]>;
  close(): void;
}

/** Makes the session; it owns `socket`, whose calls all run on `lane`. */
export function createSession(
  addon: Pick<Addon, "call" | "close">,
  socket: Descriptor,
  lane: Lane = routeLane,
): Session {
  const nextSequence = createSequence();
  let closed = false;

  async function call(what: string, bytes: Uint8Array): Promise<Buffer> {
    if (closed) throw new Fault("kernel-refused", `${what}: the namespace was closed`);
    try {
      return await addon.call(lane, socket, bytes, callTimeoutMs);
    } catch (cause) {
      throw addonFault(what, cause);
    }
  }

  async function ask(what: string, request: Request): Promise<Message[]> {
    const writer = createWriter(128);
    writeMessage(writer, request, nextSequence(1));
    return splitMessages(await call(what, written(writer)));
  }

  /** The body of the kernel's word about one link; undefined where there is none. */
  async function askLink(ref: LinkRef): Promise<Buffer | undefined> {
    const what = `looking up ${linkPhrase(ref)}`;
    const messages = await ask(what, getLinkRequest(ref));
    const end = messages.find(({ type }) => type === controlMessage.error);
    const verdict = end === undefined ? { errno: 0, text: "" } : readVerdict(end);
    if (errnoName(verdict.errno) === "ENODEV") return undefined;
    if (verdict.errno !== 0) throw verdictFault(what, verdict);
    return messages.find(({ type }) => type === linkMessage.new)?.body;
  }

  async function dump<T>(
    what: string,
    type: number,
    request: Request,
    decode: (body: Buffer) => T | undefined,
  ): Promise<T[]> {
    for (let tries = 0; tries < dumpTriesMax; tries += 1) {
      const messages = await ask(what, request);
      const end = messages.findLast((message) => isControl(message));
      const verdict = end === undefined ? { errno: 0, text: "" } : readVerdict(end);
      // What was read while it changed may hold things twice, or not at all: all of it is thrown away.
      if (messages.some(isInterrupted) || errnoName(verdict.errno) === "EINTR") continue;
      if (verdict.errno !== 0) throw verdictFault(what, verdict);
      return messages
        .filter((message) => message.type === type)
        .map(({ body }) => decode(body))
        .filter((value) => value !== undefined);
    }
    throw new Fault("kernel-busy", `${what}: changed each of the ${dumpTriesMax} times that they were read; try again`);
  }

  return {
    nextSequence,
    call,
    link: async (ref) => {
      const body = await askLink(ref);
      return body === undefined ? undefined : decodeLink(body);
    },
    carries: async (ref) => {
      const body = await askLink(ref);
      return body === undefined || decodeCarries(body);
    },
    dump,
    close: () => {
      if (!closed) addon.close(socket);
      closed = true;
    },
  };
}

function isControl({ type }: Message): boolean {
  return type === controlMessage.error || type === controlMessage.done;
}

/** On an NLMSG_ERROR the same bit has no such meaning. */
function isInterrupted({ type, flags }: Message): boolean {
  return type !== controlMessage.error && (flags & messageFlag.dumpInterrupted) !== 0;
}

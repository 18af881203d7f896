// The packet log of one namespace: a socket that the kernel sends to for as long as somebody listens; what got lost is counted by numbers.

import { Fault, isFault } from "../../base/fault.ts";
import type { Addon, Descriptor, Lane } from "../addon.ts";
import { readConnectionEvents, connectionGroups } from "../conntrack/events.ts";
import { createMatcher } from "../conntrack/matcher.ts";
import { type FlowLog, type Logged, snapLenBytes } from "../flow-log-contract.ts";
import { createWriter, written } from "../netlink/codec.ts";
import {
  addonFault,
  controlMessage,
  createSequence,
  readVerdict,
  splitMessages,
  verdictFault,
  writeMessage,
  netlinkProtocol,
} from "../netlink/message.ts";
import { callTimeoutMs } from "../netlink/session.ts";
import { logged } from "../nftables/policy-base.ts";
import { listenRequest, logMessage, readLogged } from "./messages.ts";

const lane: Lane = 1;
/** What the kernel gathers before it sends: a datagram of so many packets, or what came in that time. */
const gathered = { bufferLenBytes: 16 * 1024, flushMs: 100, flushPackets: 32 } as const;
const what = "listening to the packet log";

export interface FlowLogDeps {
  addon: Pick<Addon, "openNetlink" | "call" | "monitor" | "close">;
  netns: Descriptor;
  /** Throws once the kernel is closed. */
  mustBeOpen: (what: string) => void;
}

export interface OwnedFlowLog extends FlowLog {
  close(): void;
}

/** The packet log of the namespace behind `netns`. */
export function createFlowLog({ addon, netns, mustBeOpen }: FlowLogDeps): OwnedFlowLog {
  const nextSequence = createSequence();
  let listening: Descriptor | undefined;
  let following: Descriptor | undefined;

  async function bind(socket: Descriptor): Promise<void> {
    const writer = createWriter(64);
    writeMessage(writer, listenRequest({ group: logged.group, snapLenBytes, ...gathered }), nextSequence(1));
    const answers = splitMessages(await addon.call(lane, socket, written(writer), callTimeoutMs));
    const refusal = answers
      .filter(({ type }) => type === controlMessage.error)
      .map(readVerdict)
      .find(({ errno }) => errno !== 0);
    if (refusal !== undefined) throw bindFault(verdictFault(what, refusal));
  }

  async function listen(onLogged: (told: Logged) => void): Promise<() => void> {
    mustBeOpen(what);
    if (listening !== undefined) throw new Fault("kernel-busy", `${what}: it is listened to already`);
    const socket = addon.openNetlink(netns, netlinkProtocol.netfilter);
    listening = socket;
    const stop = (): void => {
      if (listening === socket) listening = undefined;
      addon.close(socket);
    };
    try {
      await bind(socket);
      mustBeOpen(what);
      const read = createReader();
      addon.monitor(socket, [], (datagram) => {
        // A datagram that was lost shows in the numbers of what comes next.
        if (datagram === undefined) return;
        for (const told of read(datagram)) if (listening === socket) onLogged(told);
      });
    } catch (error) {
      stop();
      throw isFault(error) ? error : addonFault(what, error);
    }
    return stop;
  }

  return {
    packets: listen,
    connections: (addresses, onEvent) => {
      const doing = "following connections";
      mustBeOpen(doing);
      if (following !== undefined) throw new Fault("kernel-busy", `${doing}: they are followed already`);
      let asked = addresses();
      let matches = createMatcher(asked);
      const hasPart = (body: Buffer): boolean => {
        const now = addresses();
        if (now !== asked) [asked, matches] = [now, createMatcher(now)];
        return matches(body);
      };
      const socket = addon.openNetlink(netns, netlinkProtocol.netfilter);
      following = socket;
      const stop = (): void => {
        if (following === socket) following = undefined;
        addon.close(socket);
      };
      try {
        addon.monitor(socket, connectionGroups, (datagram) => {
          for (const event of readConnectionEvents(datagram, hasPart)) if (following === socket) onEvent(event);
        });
      } catch (error) {
        stop();
        throw addonFault(doing, error);
      }
      return stop;
    },
    close: () => {
      for (const socket of [listening, following]) if (socket !== undefined) addon.close(socket);
      listening = undefined;
      following = undefined;
    },
  };
}

/** The kernel gives a group to one socket only. */
function bindFault(fault: Fault): Fault {
  const errno = fault.data["errno"];
  if (errno !== "EBUSY" && errno !== "EPERM" && errno !== "EEXIST") return fault;
  return new Fault(
    "kernel-busy",
    `${what}: another program has nflog group ${logged.group}; stop it, or have it use another`,
    {
      cause: fault,
    },
  );
}

/** Reads datagram after datagram, and tells where numbers are missing. Bytes that make no sense are told as such. */
export function createReader(): (datagram: Buffer) => Logged[] {
  let next: number | undefined;
  return (datagram) => {
    const told: Logged[] = [];
    for (const message of messagesOf(datagram)) {
      if (message === undefined) {
        told.push({ what: "unread" });
        continue;
      }
      if (message.type !== logMessage.packet) continue;
      const { sequence, packet } = readLogged(message);
      if (sequence !== undefined) {
        const missing = next === undefined ? 0 : (sequence - next) >>> 0;
        if (missing > 0) told.push({ what: "lost", packets: missing });
        next = (sequence + 1) >>> 0;
      }
      told.push(packet ?? { what: "unread" });
    }
    return told;
  };
}

function messagesOf(datagram: Buffer): (ReturnType<typeof splitMessages>[number] | undefined)[] {
  try {
    return splitMessages(datagram);
  } catch {
    return [undefined];
  }
}

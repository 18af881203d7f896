// What the kernel tells of single packets and connections: those that the policy table logs, and those that begin and end.

import type { Ip } from "../net/ip.ts";
import type { Connection } from "./connection.ts";

/** The head of a packet: who sends what to whom. */
export interface PacketHead {
  source: Ip;
  destination: Ip;
  /** IP protocol, extension headers of IPv6 passed over: 1, 6, 17, 58, 132 … */
  protocol: number;
  /** Of TCP, UDP and SCTP, where the packet has them: a later fragment, or one that is cut short, has none. */
  sourcePort?: number;
  destinationPort?: number;
  /** Of ICMP and ICMPv6, likewise. */
  icmp?: { type: number; code: number };
}

/** A packet that no rule allowed, as it was judged: after translation of services, before masquerade. */
export interface LoggedPacket {
  what: "packet";
  /** "audited": it passed that judgement, on probation. */
  outcome: "denied" | "audited";
  /** Indexes of the links by which it came and was to go; none for what the node sends or takes itself. */
  inLink?: number;
  outLink?: number;
  head: PacketHead;
}

export type Logged =
  | LoggedPacket
  /** So many packets were logged, and lost on their way here. */
  | { what: "lost"; packets: number }
  /** One that cannot be read. */
  | { what: "unread" };

export type ConnectionEvent =
  | { what: "began" | "ended"; connection: Connection }
  /** Events were lost; nobody knows how many. */
  | { what: "lost" };

/** Bytes of a packet that the kernel hands over: an IPv6 head, three extension headers, and ports. */
export const snapLenBytes = 128;

/**
 * What policy does to packets of the node, as it happens. The kernel logs so many of each outcome and of each pair of links
 * (`loggedPerSecond` and `loggedOfPair` of the policy table); what is beyond that is in the counters of the layers alone. It keeps no process alive. Both throw Fault "agent-stopping" once the kernel is closed.
 */
export interface FlowLog {
  /**
   * Calls back with each packet that the policy table logs, in order and at most `flushMs` late, until the function that it gives is
   * called or the kernel is closed. Settles when the kernel sends. @throws Fault "kernel-busy" where somebody listens already, here or
   * in another program
   */
  packets(onLogged: (told: Logged) => void): Promise<() => void>;
  /**
   * Calls back with each connection that begins or ends and in which one of `addresses()` has part, likewise. While it does, each
   * connection of the whole node costs some microseconds more. @throws Fault "kernel-busy" where somebody follows already
   */
  connections(addresses: () => readonly Ip[], onEvent: (event: ConnectionEvent) => void): () => void;
}

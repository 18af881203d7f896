// A connection as the kernel tracks it. Types only.

import type { Ip } from "../net/ip.ts";

/** One direction of a tracked connection. */
export interface ConnectionTuple {
  source: Ip;
  destination: Ip;
  /** Of protocols that have ports; GRE has its keys here. */
  sourcePort?: number;
  destinationPort?: number;
  /** Of ICMP and ICMPv6. */
  icmp?: { id: number; type: number; code: number };
}

/** An entry of the kernel's connection tracking. */
export interface Connection {
  /** IP protocol: 1 ICMP, 6 TCP, 17 UDP, 47 GRE, 58 ICMPv6, 132 SCTP … */
  protocol: number;
  /** As the first packet came. */
  original: ConnectionTuple;
  /** As answers come: the original turned around, unless addresses or ports are translated. */
  reply: ConnectionTuple;
  /** Packets went both ways. */
  replied: boolean;
  /** It stays when the table is full. */
  assured: boolean;
  tcpState?: TcpState;
}

export type TcpState =
  | "none"
  | "syn-sent"
  | "syn-received"
  | "established"
  | "fin-wait"
  | "close-wait"
  | "last-ack"
  | "time-wait"
  | "closed"
  | "syn-sent-twice";

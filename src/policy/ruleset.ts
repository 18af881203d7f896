// What the kernel is to hold so that it decides as the model does: classes, layers as chains of lookups, and sets of addresses. Types only.

import type { Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { PolicyKeys } from "./keys.ts";
import type { Direction, MembershipKey } from "./model.ts";

/**
 * Layers and blocks are named after their content, layers after their objects too, so that an edit makes new ones beside the old; the
 * sets of members are named after their membership, and change.
 */
export interface PolicyRuleset {
  /** By link group. Every class of a link on the node is here. */
  classes: ReadonlyMap<number, PolicyClass>;
  layers: ReadonlyMap<string, LayerChains>;
  memberSets: ReadonlyMap<string, MemberSet>;
  blockSets: ReadonlyMap<string, BlockSet>;
  /** Host links of pods that send from their own addresses only: what such a link sends to itself through a service passes. */
  links: ReadonlySet<string>;
  /** "closed": no link of a pod, of whatever class, gets credentials of the metadata address; absent: open. */
  metadata?: PolicyKeys["metadata"];
}

/** Names of layers, in the order in which they are asked: none, one, or NetworkPolicy and groups. */
export interface PolicyClass {
  egress: readonly string[];
  ingress: readonly string[];
  /** Asked for what pods send to their own node; none where that is not judged. */
  toNode: readonly string[];
}

/** One layer: lookups that end in "allowed by this layer", or in `otherwise`. */
export interface LayerChains {
  name: string;
  direction: Direction;
  otherwise: "deny" | "audit";
  /** Single destination ports, each combination once. What matches none here, or whose peers do not match, goes on to `rest`. */
  ports: readonly PortEntry[];
  /** Lists of tests that entries of `ports` name by index; a list allows where one of its tests holds. */
  peerLists: readonly (readonly PeerTest[])[];
  /** In order; a rule allows where all that it says holds. */
  rest: readonly RestRule[];
}

/** Packets that the lookups of a layer have counted, in the order of its parts. */
export interface LookupCounts {
  /** Of packets that found the entry, whoever the peer was. */
  ports: readonly number[];
  /** Of packets that each test of each list, and each rule, allowed. */
  peerLists: readonly (readonly number[])[];
  rest: readonly number[];
}

export interface PortEntry {
  /** 6, 17 or 132. */
  protocol: number;
  port: number;
  /** Index of a peer list, or "any": allowed whoever the peer is. */
  peers: number | "any";
}

/** The peer's address (source for ingress, destination for egress), of this family, is in the set. */
export interface PeerTest {
  family: 4 | 6;
  /** Name of a member set or block set. */
  set: string;
  /** The set holds (address, protocol, port): the destination port is looked up too. */
  withPort?: true;
}

export interface RestRule {
  protocol?: number;
  /** Destination ports, both ends included; with `protocol` 6, 17 or 132. */
  ports?: { first: number; last: number };
  /** With `protocol` 1 or 58. */
  icmp?: { type: number; code?: number };
  /** Absent: any peer. */
  peer?: PeerTest;
}

/** The addresses of one membership in one family, or their (address, protocol, port) under one port name. */
export interface MemberSet {
  name: string;
  membership: MembershipKey;
  family: 4 | 6;
  /** Absent: addresses alone. */
  portName?: string;
  protocol?: number;
  /** As the parts of the membership are: what has not changed is the same part, and an element may stand in two. */
  parts: readonly (readonly MemberElement[])[];
}

export interface MemberElement {
  address: Ip;
  /** Where the set has a `portName`. */
  protocol?: number;
  port?: number;
}

/** Networks of one family, merged, none overlapping; `except` is cut out already. */
export interface BlockSet {
  name: string;
  family: 4 | 6;
  blocks: readonly Cidr[];
}

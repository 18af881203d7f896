// What the rest of the program may ask of the kernel: plain operations in, plain observations out. The real kernel and the fake both pass test/kernel.contract.ts.

import type { Fault } from "../base/fault.ts";
import type { Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";
import type { LayerChains, LookupCounts, MemberElement, PolicyRuleset } from "../policy/ruleset.ts";
import type { Connection } from "./connection.ts";
import type { FlowLog } from "./flow-log-contract.ts";

/** A link by its index, or by its name in that namespace. Routes, addresses and neighbours need the index. */
export type LinkRef = number | string;

/** One change to a namespace. Every "remove" of what is gone already succeeds; every "add" of what is there fails with "kernel-exists". */
export type Op =
  /** A veth pair: this end in the namespace at hand, the peer directly in another. Both ends are down; `link.set linkLocal: "none"` before, or as, each comes up. */
  | { op: "link.addVeth"; name: string; index?: number; mac: Mac; mtu: number; group: number; peer: VethPeer }
  | ({ op: "link.set"; link: LinkRef } & LinkChange)
  | { op: "link.remove"; link: LinkRef }
  /** Removes every link of a group at once: one wait for the kernel's grace period whatever their number. Group 0 is refused. */
  | { op: "link.removeGroup"; group: number }
  /** Usable at once: no duplicate address detection, no prefix route made by the kernel. */
  | { op: "address.add"; link: number; address: Ip; prefix: number }
  | { op: "address.remove"; link: number; address: Ip; prefix: number }
  | { op: "route.add"; route: Route }
  /** Adds the route or changes the one to the same destination, table and metric. */
  | { op: "route.replace"; route: Route }
  | { op: "route.remove"; route: RouteKey }
  | { op: "rule.add"; rule: Rule }
  | { op: "rule.remove"; rule: Rule }
  /** A permanent neighbour entry, added or changed. */
  | { op: "neighbour.set"; link: number; address: Ip; mac: Mac }
  | { op: "neighbour.remove"; link: number; address: Ip };

export interface VethPeer {
  netns: Netns;
  name: string;
  /** Chosen by the caller, so that operations on the link can follow in the same breath; by the kernel if absent. */
  index?: number;
  mac: Mac;
  mtu: number;
}

export interface LinkChange {
  up?: boolean;
  rename?: string;
  group?: number;
  mtu?: number;
  /** The kernel forgets every neighbour on the link with it, permanent ones too. */
  mac?: Mac;
  /** Free text on the link, at most 255 bytes. */
  alias?: string;
  /** "none": the kernel makes no IPv6 link-local address when the link comes up. */
  linkLocal?: "none" | "eui64";
}

/** Answer to one Op, at the same place in the list. */
export interface OpResult {
  fault?: Fault;
  /** link.addVeth: index of this end, and of the peer in its own namespace. */
  index?: number;
  peerIndex?: number;
}

export interface Link {
  index: number;
  name: string;
  /** "veth", "bridge", … ; "" for hardware and loopback. */
  kind: string;
  mac?: Mac;
  mtu: number;
  up: boolean;
  /** Carrier present: for a veth, both ends are up. */
  running: boolean;
  group: number;
  alias: string;
  /** An eBPF program sees its packets before anything else does (XDP). */
  hasXdp?: true;
  /** Index of the other end of a veth, in the namespace of that end. */
  peerIndex?: number;
}

export interface Address {
  link: number;
  address: Ip;
  prefix: number;
  /** "global", "link" (fe80::/10, 169.254/16 …) or "host" (loopback). */
  scope: "global" | "link" | "host" | "site" | "nowhere";
  /** Not yet usable: duplicate address detection runs or failed. */
  tentative: boolean;
}

export interface RouteKey {
  to: Cidr;
  /** Output link index; none for unreachable routes and where `via` decides alone. */
  link?: number;
  /** The kernel's default if absent: 0 for IPv4, where a removal then takes the route of the lowest metric; 1024 for IPv6. */
  metric?: number;
  /** Routing table, main (254) if absent. */
  table?: number;
  /** Who made it: `routeProtocol`, ours, if absent; 2 kernel, 3 boot, 4 static. Only a route of this protocol is removed. Always given on what is read. */
  protocol?: number;
}

export interface Route extends RouteKey {
  via?: Ip;
  /** Preferred source address. */
  src?: Ip;
  /** IPv4: "link" = directly reachable; "global" if absent. IPv6 has no such scope in the kernel. */
  scope?: "link" | "global" | "host";
  /** "unicast" if absent; "other" is only read. */
  type?: "unicast" | "unreachable" | "blackhole" | "local" | "broadcast" | "multicast" | "anycast" | "other";
  mtu?: number;
}

export interface Rule {
  family: 4 | 6;
  priority: number;
  table: number;
  from?: Cidr;
  to?: Cidr;
  mark?: number;
  mask?: number;
  /** `routeProtocol` if absent. Always given on what is read. */
  protocol?: number;
}

export interface Neighbour {
  link: number;
  address: Ip;
  mac?: Mac;
  permanent: boolean;
}

/** The protocol number on every route and rule that is ours (rtnetlink(7) leaves 5-255 to programs). */
export const routeProtocol = 142;

/** A network namespace that is held open. Close it: it keeps the namespace alive. */
export interface Netns {
  /** "device:inode" of the namespace: tells two open ones apart. Meaningless once it is closed, since the kernel gives inodes again. */
  readonly id: string;
  /**
   * Makes the changes in order, in one batch; each has its own answer and a failed one does not stop the rest.
   * Rejects where nothing was sent, with Fault "kernel-refused" naming an operation that no message can say or a closed
   * namespace, and where the outcome is unknown ("call-timeout", "kernel-busy", "agent-stopping").
   */
  apply(ops: readonly Op[]): Promise<OpResult[]>;
  links(): Promise<Link[]>;
  /** One link, or undefined where there is none. */
  link(ref: LinkRef): Promise<Link | undefined>;
  /**
   * Whether what is sent on the link is sent. Not so for a moment where a link was up before its other end: it has a carrier
   * then, but no queue before the kernel's link watch has come by, and drops every packet. Linux 6.8 and newer lets the link
   * watch run for this question; an older one has to be asked again. True where there is no such link.
   */
  carries(ref: LinkRef): Promise<boolean>;
  addresses(): Promise<Address[]>;
  /** Routes of every table, what the kernel would choose by itself left out; of several next hops the first. Not those for certain sources or tos. */
  routes(): Promise<Route[]>;
  /** Rules that look up a table and that a Rule can say wholly. */
  rules(): Promise<Rule[]>;
  neighbours(): Promise<Neighbour[]>;
  /** Indexes of links that have an eBPF program as a filter of traffic control (tc), which can send packets past everything else. */
  programs(): Promise<number[]>;
  /**
   * Of these links those that have such a program attached by tcx, which no list of filters shows; none where the kernel has no tcx (before
   * Linux 6.6). Undefined where this program may not ask, as bpf(2) is kept from it. At most `tcxLinksMax` links are asked for.
   */
  tcxPrograms(links: readonly number[]): Promise<number[] | undefined>;
  /** Writes values under /proc/sys/net as this namespace sees it; keys such as "ipv6/conf/all/forwarding". The first that fails stops the rest. */
  writeSysctls(values: Readonly<Record<string, string>>): Promise<void>;
  /** Gives the values without their line break, undefined for a key that this kernel or namespace does not have. */
  readSysctls(keys: readonly string[]): Promise<(string | undefined)[]>;
  close(): void;
}

/** One allowed (host link, source address) pair; "any": whatever the source, the link is not guarded. */
export interface GuardEntry {
  link: string;
  address: Ip | "any";
}

/** The source guard: packets that enter by one of our links must carry an address listed for that link. */
export interface Guard {
  /** Loads the table if it is missing or not as it should be, and makes its entries exactly `entries`, in one transaction. True if anything had to change. */
  ensure(entries: readonly GuardEntry[]): Promise<boolean>;
  /** Adds entries; those already there are no error. @throws Fault "kernel-missing" where the table is missing */
  admit(entries: readonly GuardEntry[]): Promise<void>;
  /** Removes entries; those already gone are no error. */
  withdraw(entries: readonly GuardEntry[]): Promise<void>;
  /** What the kernel holds; undefined where the table is missing. */
  list(): Promise<GuardEntry[] | undefined>;
  /** Removes the whole table. */
  prune(): Promise<void>;
}

/** Ports from the first to the last, both included. */
export interface PortRange {
  first: number;
  last: number;
}

/** Which connections leave the node with an address of the node in place of their own. */
export interface MasqueradePlan {
  /** Sources that are hidden: this node's own pod ranges. Connections of a family with none are left alone. */
  from: readonly Cidr[];
  /** Destinations that see the source as it is. They may overlap. */
  keep: readonly Cidr[];
  /** Source ports for TCP, UDP and SCTP, evenly over all of them; none: as the kernel chooses. They must not overlap. */
  ports: readonly PortRange[];
  /** Ports are chosen by chance: without it, connections that begin at once can get the same one, and one of them is lost. */
  randomFully: boolean;
}

/** Networks in one plan, and ranges of ports. */
export const masqueradeRangesMax = 8192;
export const masqueradePortRangesMax = 64;

/**
 * Hides pods behind their node. Decided on the first packet of a connection: what began under another plan goes on as it began.
 * Answers to connections that came from outside are never touched, nor what is meant for the node itself.
 */
export interface Masquerade {
  /** Makes the table exactly as the plan says, in one transaction. True if anything had to change. Faults as those of Guard. */
  ensure(plan: MasqueradePlan): Promise<boolean>;
  /** Removes the whole table; none is no error. */
  prune(): Promise<void>;
}

export { classNumbers, policyLimits } from "../policy/limits.ts";

/** Elements by the name of their member set. */
export type MemberChanges = ReadonlyMap<string, readonly MemberElement[]>;

/**
 * Judges the first packet of each connection of links with a class, by the class of the link that it comes in by and of that by which
 * it goes out. What was allowed goes on, with its answers. A class that is not in the ruleset lets nothing pass.
 */
export interface PolicyTable {
  /**
   * Makes the table exactly so. On the way nothing passes that neither the old ruleset nor the new one lets pass. Load it with no
   * classes before links get any: connections that begin without it are not known, and end when their link gets a class. True if
   * anything had to change. `trust` "as left": what is there is believed to be what this object left, where it knows; else the
   * table is read. Faults as those of Guard.
   */
  ensure(ruleset: PolicyRuleset, trust?: "as left"): Promise<boolean>;
  /**
   * True where a call that believed in what this object had left found some of it missing, since this was asked last; nothing is
   * asked of the kernel. Until the table is ensured again, packets may be judged by nobody.
   */
  wasMissed(): boolean;
  /**
   * Where there is no table at all, loads one without any class, so that connections are known when policy comes; what is there, whoever
   * left it, stays as it is. True if it was loaded.
   */
  prepare(): Promise<boolean>;
  /**
   * Removes members, then adds some; what is gone, or there already, is no error. @throws Fault "kernel-missing" where table or set
   * is missing
   */
  change(changes: { remove?: MemberChanges; add?: MemberChanges }): Promise<void>;
  /**
   * Host links of pods whose packets to themselves pass unjudged (a service that leads back), and members that come along with them, all at
   * once. Faults as those of `change`.
   */
  admit(links: readonly string[], members?: MemberChanges): Promise<void>;
  withdraw(links: readonly string[]): Promise<void>;
  /**
   * Packets that each counter has counted since this was called last, those of counters that went meanwhile among them; for one caller.
   * The first answer has what was counted before, too. A counter that somebody else removed takes along what nobody had read.
   */
  counted(): Promise<ReadonlyMap<string, number>>;
  /**
   * What the lookups of these layers have counted since they are in the kernel, by layer; none for one that is not of the ruleset that
   * was ensured last. Some ten calls a layer. @throws Fault "kernel-missing" where somebody else took a layer away, "kernel-busy"
   */
  lookups(layers: Iterable<LayerChains>): Promise<ReadonlyMap<string, LookupCounts>>;
  /** The same of layers that have gone since this was called last, as they stood then; nothing is asked. */
  goneLookups(): ReadonlyMap<string, LookupCounts>;
  /** Removes the whole table: nothing is judged any more. */
  prune(): Promise<void>;
}

export type { Connection, ConnectionTuple, TcpState } from "./connection.ts";

/** Addresses in one question to Conntrack. The work depends on the size of the table, hardly on their number. */
export const conntrackAddressesMax = 1024;
/** Entries that `Conntrack.list` gives. */
export const connectionsMax = 65_536;

/**
 * The node's connection tracking, entries of every zone. An address has part in an entry as source or destination of either
 * direction. Each call reads the whole table, once: some 10 ms where it is nearly empty, 2 us an entry. Without connection
 * tracking in the kernel or the namespace there are no entries. All throw Fault "kernel-refused" for too many addresses.
 */
export interface Conntrack {
  /**
   * Deletes every entry in which one of the addresses has part, and gives how many went. What is gone already is success. An
   * entry that traffic makes meanwhile may stay. @throws Fault "kernel-busy" where one was not let go now: the others went. After
   * any fault, ask again.
   */
  forget(addresses: readonly Ip[]): Promise<number>;
  /**
   * Deletes of those entries the ones for which `isUnwanted` says so, and gives how many went; the rest as `forget`. The answer is asked
   * for in slices of a few milliseconds.
   */
  cut(addresses: readonly Ip[], isUnwanted: (connection: Connection) => boolean): Promise<number>;
  /** The entries in which one of the addresses has part. @throws Fault "kernel-refused" where there are more than `connectionsMax` */
  list(addresses: readonly Ip[]): Promise<Connection[]>;
}

/**
 * Something of the node's namespace is not as it was. "removed" is false for what is new or was changed. IPv4 routes that go along
 * with a link that goes down or away, or with their source address, go without a word: that change stands for theirs.
 */
export type KernelChange =
  | { what: "link"; index: number; removed: boolean }
  | { what: "address"; link: number; address: Ip; removed: boolean }
  /** `link`, `table` and `protocol` as in Route. */
  | { what: "route"; to: Cidr; link?: number; table?: number; protocol?: number; removed: boolean }
  | { what: "rule"; family: 4 | 6; priority: number; removed: boolean }
  /** Learned ones too, each time that their state changes. */
  | { what: "neighbour"; link: number; address: Ip; removed: boolean }
  /**
   * Somebody changed nftables: `by` is the name of the thread, `nftablesThread` where it was this program. `tables`: those of ours that
   * another program touched, among `ownTables`; absent where it was this program.
   */
  | { what: "nftables"; by: string; tables?: readonly string[] }
  /** Changes were lost: look at everything. */
  | { what: "lost" };

/** Our tables, all of family inet, by what keeps them. */
export const ownTables = { guard: "fairlead", policy: "fairlead-policy", masquerade: "fairlead-masq" } as const;

/** The thread that makes our own changes of nftables. */
export const nftablesThread = "fl-nft";

/** Links that can be asked for their programs at once. */
export const tcxLinksMax = 16_384;

/** Callbacks that watch one kernel at once. */
export const watchersMax = 16;

/** A rule that keeps packets from connection tracking. */
export interface UntrackedRule {
  family: "ip" | "ip6" | "inet";
  table: string;
  chain: string;
  /** Of packets from or to these alone; none: it may match any. */
  addresses: readonly Ip[];
}

/** A chain on the forward hook of the node, whoever made it. */
export interface ForwardChain {
  family: "ip" | "ip6" | "inet";
  table: string;
  chain: string;
  /** What happens to packets that no rule of the chain decides. */
  policy: "accept" | "drop";
}

/** The kernel threads: rtnetlink and settings, nftables, removal of links and connection tracking. */
export type KernelLane = "route" | "nftables" | "removal";

export interface Kernel {
  /** The node's own namespace. */
  readonly node: Netns;
  readonly guard: Guard;
  readonly masquerade: Masquerade;
  readonly policy: PolicyTable;
  readonly conntrack: Conntrack;
  readonly flowLog: FlowLog;
  /**
   * Calls back with each change of the node's namespace, our own among them, until the function that it gives is called or the
   * kernel is closed: in their order, but nftables may be ahead of the rest or behind it. Everything that changes after this call
   * is told, so what is read after it is not missed. It keeps no process alive. While somebody watches, a change of nftables takes
   * some 30 us longer, whoever makes it. @throws Fault "kernel-busy" beyond `watchersMax`, "agent-stopping" once closed
   */
  watch(onChange: (change: KernelChange) => void): () => void;
  /** Every chain that judges forwarded packets: an accept of one does not undo a drop of another. In no order. */
  forwardChains(): Promise<ForwardChain[]>;
  /** Rules that keep packets from connection tracking, whoever made them. In no order. */
  untrackedRules(): Promise<UntrackedRule[]>;
  /** Calls of each thread that wait or are under way. */
  callsUnderWay(): Readonly<Record<KernelLane, number>>;
  /** @throws Fault "netns-missing" where the path leads to no network namespace. */
  openNetns(path: string): Netns;
  /** Stops the kernel threads and closes every socket. Calls still under way fail, watching ends. */
  close(): void;
}

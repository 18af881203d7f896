// What policy is about, whoever said it: pods, layers of allow rules, and the memberships that rules name. Types only.

import type { Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { PolicyKeys } from "./keys.ts";
import type {
  Namespace,
  NetworkPolicy,
  SecurityGroup,
  SecurityGroupBinding,
  SecurityGroupPolicy,
  ServiceAccount,
} from "../kube/policy-objects.ts";

/** Everything that people have written. In no order; names are unique within their kind and namespace. */
export interface PolicyObjects {
  namespaces: readonly Namespace[];
  serviceAccounts: readonly ServiceAccount[];
  networkPolicies: readonly NetworkPolicy[];
  groups: readonly SecurityGroup[];
  bindings: readonly SecurityGroupBinding[];
  groupPolicies: readonly SecurityGroupPolicy[];
}

/** A pod as policy sees it. One on its node's network is none: its addresses are the node's. */
export interface PolicyPod {
  namespace: string;
  name: string;
  uid: string;
  labels: Readonly<Record<string, string>>;
  serviceAccount: string;
  node: string;
  /** Where it has an attachment; none before, and once it has ended. */
  addresses: readonly Ip[];
  /** Ports that its containers have given names to, restartable init containers included. */
  ports: readonly NamedPort[];
  /** What it asks of the source guard, as it is written; absent: nothing. */
  sourceGuard?: string;
}

export interface NamedPort {
  name: string;
  /** IP protocol: 6, 17 or 132. */
  protocol: number;
  port: number;
}

export type Direction = "ingress" | "egress";

/**
 * Whose objects a layer is made of. A new flow must pass the layers of its source's egress and of its target's ingress: four judgements.
 * "metadata" is no pod's own: it judges what any pod sends to the cloud's metadata address, and nothing else.
 */
export type LayerKind = "networkPolicy" | "groups" | "metadata";

/** What one kind of object lets a pod do in one direction: the union of rules. A pod without such a layer passes that judgement. */
export interface Layer {
  kind: LayerKind;
  direction: Direction;
  /**
   * Says which objects the layer is made of ("NetworkPolicy shop/web", "SecurityGroup db"), and, where it depends on the pod, which
   * numbers its named ports have. Pods with equal ids share the layer; it stays while its objects are edited.
   */
  id: string;
  objects: readonly string[];
  /** "audit" where every one of its objects is on probation: what no rule allows is logged and passes. */
  otherwise: "deny" | "audit";
  rules: readonly Rule[];
}

/** Allows what matches one of `ports` and one of `peers`; an empty list matches everything. */
export interface Rule {
  /** "NetworkPolicy shop/web ingress rule 1": for people, counted from 1. */
  from: string;
  ports: readonly PortMatch[];
  peers: readonly Peer[];
}

export type PortMatch =
  /** Destination ports of TCP (6), UDP (17) or SCTP (132), both ends included. */
  | { protocol: number; first: number; last: number }
  /** The whole IP protocol. */
  | { protocol: number }
  /** A message of ICMP (1) or ICMPv6 (58). */
  | { protocol: 1 | 58; type: number; code?: number }
  /** The port to which the peer has given this name; a peer without one does not match. Egress only: ingress names are resolved in the layer. */
  | { protocol: number; peerPort: string };

/** The other end: source for ingress, destination for egress. */
export type Peer = { block: Cidr; except: readonly Cidr[] } | { members: MembershipKey };

/** A hash of `MembershipDefinition.peer`: 20 lower-case hexadecimal digits. */
export type MembershipKey = string & { readonly __membership: unique symbol };

/** The pods that a selector or a security group stands for, cluster-wide. Selectors that say the same have the same key. */
export interface MembershipDefinition {
  key: MembershipKey;
  /** Canonical text, which the key is made of: keys sorted, matchLabels among the expressions. People can read it. */
  peer: string;
  select: { group: string } | { namespaces: CanonicalSelector; pods: CanonicalSelector };
}

/** Requirements that must all hold, sorted, each once; none: everything. */
export type CanonicalSelector = readonly Requirement[];

export interface Requirement {
  key: string;
  operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  /** Sorted; none for Exists and DoesNotExist. */
  values: readonly string[];
}

export interface Member {
  address: Ip;
  ports: readonly NamedPort[];
}

/**
 * The members of a membership, in parts. What has not changed since an earlier state is the same part: what was made of it need not be
 * made again. An address may stand in two parts: it is one member, with the ports of both.
 */
export type MemberParts = readonly (readonly Member[])[];

/** Absent: a membership that nobody has told of yet, which has no members. */
export type Memberships = ReadonlyMap<MembershipKey, MemberParts>;

/** A time in which policy denies some pods nothing. */
export interface BreakGlass {
  /** "Namespace shop", "Node node-1". */
  title: string;
  fromMs: number;
  untilMs: number;
}

/** A pod and its layers: of each kind at most one in each direction, NetworkPolicy first. */
export interface Subject {
  pod: Pick<PolicyPod, "namespace" | "name" | "uid" | "node" | "addresses">;
  egress: readonly Layer[];
  ingress: readonly Layer[];
  /** Its layers deny nothing for so long. */
  breakGlass?: BreakGlass;
  /** It may send from any address: what comes back to it need not be its own, so it is judged. Absent: it may not. */
  isUnguarded?: boolean;
  /** For people, where the whole cluster is known; nothing is decided by it. */
  hints?: SubjectHints;
}

/** What of a pod, and of what was written for it, is not in its layers. */
export interface SubjectHints {
  refused: readonly RefusedHint[];
  /** Its named ports. */
  ports: readonly NamedPort[];
  /** Rules of its ingress that name ports which it has not got; a layer has them without these names, or not at all. */
  unnamed: readonly Rule[];
}

/** A group that an object binds the pod to, and that it does not get. */
export interface RefusedHint {
  name: string;
  why: "unknown" | "not bindable" | "too many";
  /** As `Layer.objects` has it. */
  object: string;
  /** Where the group is there: what it would let the pod do, all of it where egress is absent. */
  rules?: { ingress: readonly Rule[]; egress?: readonly Rule[] };
  /** Its bindableFrom asks for names, which no label changes. */
  byName?: boolean;
}

/** Everything that decides. A cluster's model knows all pods as subjects; that of an agent those of its node. */
export interface Model {
  subjects: readonly Subject[];
  /** The addresses of nodes, by name: a node always reaches its own pods, and they it as far as NetworkPolicy goes. */
  nodes: ReadonlyMap<string, readonly Ip[]>;
  memberships: Memberships;
  /** Egress groups judge what a pod sends to its own node, too. */
  groupsJudgeOwnNode: boolean;
  /** Whether pods may have the credentials of the cloud's metadata address; absent: open. */
  metadata?: PolicyKeys["metadata"];
}

/** The first packet of a flow, after translation of services and before masquerade. */
export interface Packet {
  source: Ip;
  destination: Ip;
  /** IP protocol: 1, 6, 17, 58, 132 … */
  protocol: number;
  /** Of TCP, UDP and SCTP. */
  destinationPort?: number;
  /** Of ICMP and ICMPv6. */
  icmp?: { type: number; code: number };
}

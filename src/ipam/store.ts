// What the node remembers across restarts: attachments, their leases, and addresses that cool. SQLite and memory pass one contract suite (test/store.contract.ts).

import type { Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";

/** What names an attachment for the runtime: one interface of one container in one network. */
export interface AttachmentId {
  network: string;
  containerId: string;
  ifname: string;
}

/** Everything about one attachment that DEL, CHECK and a restart need to know. */
export interface Attachment extends AttachmentId {
  addresses: Ip[];
  /** Empty where it is not known: an attachment that was found again by its link. */
  netnsPath: string;
  /** The veth pair; absent where another plugin makes the interface and only the addresses are ours. */
  wire?: Wire;
  /** How the IPAM plugin that chose the addresses is told that they are free again; absent where the pool chose them. */
  delegate?: Delegate;
  /** Kubernetes identity as the runtime gave it; absent outside Kubernetes. */
  pod?: { namespace: string; name: string; uid?: string };
  /** Labels that the caller gave the pod, where no cluster says what pods are: nobody says them again. */
  labels?: Readonly<Record<string, string>>;
  createdMs: number;
}

/** A veth pair between node and pod. */
export interface Wire {
  hostLink: string;
  /** Indexes of the two ends, chosen by the agent: with the boot they name the links for good. */
  hostIndex: number;
  podIndex: number;
  hostMac: Mac;
  podMac: Mac;
  mtu: number;
  /** Destinations beside the default route that an IPAM plugin asked for. */
  routes?: Cidr[];
  /** What an IPAM plugin said of each of the attachment's addresses, in their order. */
  subnets?: GivenSubnet[];
}

export interface GivenSubnet {
  prefix: number;
  /** Becomes the pod's next hop of its family; ours where there is none. */
  gateway?: Ip;
}

/** An attachment whose interface we made. */
export type Wired = Attachment & { wire: Wire };

export function isWired(attachment: Attachment): attachment is Wired {
  return attachment.wire !== undefined;
}

/** The call that gave the addresses, to be repeated as DEL. */
export interface Delegate {
  /** File name of the plugin on `path`. */
  type: string;
  /** CNI_PATH. */
  path: string;
  /** Its other CNI_* variables. */
  env: Readonly<Record<string, string>>;
  stdin: string;
}

/** `planned`: journalled, the kernel may hold any part of it. `ready`: ADD has succeeded. */
export type AttachmentState = "planned" | "ready";

export interface StoredAttachment {
  attachment: Attachment;
  state: AttachmentState;
}

/** An address that was released and may not be given again before `untilMs`: ms since boot (src/base/uptime.ts), which outlives the process and which nobody sets. */
export interface CoolingAddress {
  address: Ip;
  untilMs: number;
}

export interface StoreContents {
  /** By their keys. */
  attachments: StoredAttachment[];
  cooling: CoolingAddress[];
  /** Small facts that must match on the next start, such as the boot id. */
  facts: Readonly<Record<string, string>>;
}

/**
 * Each method is one transaction: done wholly when it returns, or not at all when it throws.
 * @throws Fault "store-failed" with the cause; nothing has changed then.
 */
export interface Store {
  read(): StoreContents;
  /**
   * Journals a new attachment as `planned`, or as `state` says. Refuses a known attachment; that no address is leased twice is the
   * pool's duty.
   */
  plan(attachment: Attachment, state?: AttachmentState): void;
  /** Marks it `ready`. Refuses an unknown attachment. */
  ready(id: AttachmentId): void;
  /** Forgets the attachment and notes which addresses cool from now on. An unknown attachment is no error. */
  release(id: AttachmentId, cooling: readonly CoolingAddress[]): void;
  /** Forgets cooled addresses. */
  free(addresses: readonly Ip[]): void;
  setFacts(facts: Readonly<Record<string, string>>): void;
  close(): void;
}

/** One string for an attachment; its parts hold no "/" (the CNI names forbid it). */
export function attachmentKey({ network, containerId, ifname }: AttachmentId): string {
  return `${network}/${containerId}/${ifname}`;
}

/** The blocks that a node owns, oldest first. */
export type Blocks = readonly Cidr[];

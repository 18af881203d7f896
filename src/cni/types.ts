// The words of the CNI protocol as the rest of the program sees them: verbs, versions, a request, a result.

import type { Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";

export const verbs = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] as const;
export type Verb = (typeof verbs)[number];

/** Every released version of the protocol, oldest first. A configuration's version must be exactly one of them. */
export const supportedVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof supportedVersions)[number];

/** What we answer in where the request does not say which version it speaks. */
export const newestVersion: CniVersion = "1.1.0";

/** True where `version` is `than` or a later one. */
export function atLeast(version: CniVersion, than: CniVersion): boolean {
  return supportedVersions.indexOf(version) >= supportedVersions.indexOf(than);
}

/** A JSON object from outside. Read it with `own` of json.ts: a key such as "__proto__" or "constructor" is only a key. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The configuration on standard input: one plugin of a list, with what the runtime added. */
export interface NetConfig {
  name: string;
  cniVersion: CniVersion;
  /** Empty where the configuration has none. */
  type: string;
  // Objects as they came; absent also where they are there but are no objects.
  ipam?: JsonObject;
  runtimeConfig?: JsonObject;
  args?: JsonObject;
  capabilities?: JsonObject;
  /** As it came; CniRequest.prevResult is what it says. */
  prevResult?: JsonObject;
  /** The whole object, unknown keys included. */
  raw: JsonObject;
}

/** The pairs of CNI_ARGS that we know, as the container runtimes for Kubernetes send them; never empty. */
export interface CniArgs {
  K8S_POD_NAMESPACE?: string;
  K8S_POD_NAME?: string;
  K8S_POD_UID?: string;
  K8S_POD_INFRA_CONTAINER_ID?: string;
  /** As they came: ADD refuses them (wishes.ts). */
  IP?: string;
  MAC?: string;
}

/** What the environment variables say. */
export interface CniEnvironment {
  verb: Verb;
  /** Empty for GC, STATUS and VERSION, which are about no container. */
  containerId: string;
  /** Absolute path. There for ADD and CHECK; DEL may lack it. */
  netns?: string;
  /** Empty for GC, STATUS and VERSION. */
  ifname: string;
  args: CniArgs;
  /** CNI_PATH as it came: where plugins lie, ":" between directories. Empty where there is none. */
  path: string;
}

/** Addresses from `first` to `last`, both included. */
export interface AddressRange {
  first: Ip;
  last: Ip;
  /** Where they were asked for, and the network that they lie in. */
  asked: string;
}

/** What ADD is asked to honour (wishes.ts). */
export interface Wishes {
  /** These very addresses, at most one of a family. */
  addresses: Ip[];
  /** Where each was asked for, and in which words. */
  asked?: string[];
  /** Families with ranges get an address out of them. */
  ranges: AddressRange[];
  mac?: Mac;
  dns?: ResultDns;
}

/** A checked request of any verb but VERSION. */
export interface CniRequest extends CniEnvironment {
  verb: Exclude<Verb, "VERSION">;
  config: NetConfig;
  /** There for CHECK; for ADD and DEL where the runtime gave one (for DEL: one that could be read). */
  prevResult?: AttachmentResult;
  /**
   * "ipam": another plugin makes the interface and has named Fairlead under `ipam.type`: only addresses are wanted.
   */
  role: "interface" | "ipam";
  /** File name of another IPAM plugin that chooses the addresses for an interface of ours. */
  delegate?: string;
  /** ADD: what is asked for beyond an address. */
  wishes: Wishes;
  /** What the plugin was given, word for word: for a delegate. */
  raw: { env: ReadonlyMap<string, string>; stdin: Uint8Array };
  /** GC: the attachments to keep. Absent means that the runtime gave no list, and nothing may be removed then. */
  validAttachments?: ValidAttachment[];
}

/** VERSION needs no configuration. */
export interface VersionRequest {
  verb: "VERSION";
  /** The version to answer in. */
  cniVersion: CniVersion;
}

export interface ValidAttachment {
  containerId: string;
  ifname: string;
}

/** What ADD made, free of the shapes of the versions. */
export interface AttachmentResult {
  interfaces: ResultInterface[];
  ips: ResultIp[];
  routes: ResultRoute[];
  dns?: ResultDns;
}

export interface ResultInterface {
  name: string;
  mac?: Mac;
  mtu?: number;
  /** Path of the network namespace; empty for an interface of the node. */
  sandbox: string;
}

export interface ResultIp {
  /** Index into `interfaces`. */
  interface?: number;
  address: Ip;
  prefix: number;
  gateway?: Ip;
}

export interface ResultRoute {
  to: Cidr;
  via?: Ip;
  mtu?: number;
  advmss?: number;
  priority?: number;
  table?: number;
  scope?: number;
}

export interface ResultDns {
  nameservers?: string[];
  domain?: string;
  search?: string[];
  options?: string[];
}

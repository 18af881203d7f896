// Everything that anybody asks about in one world, and the sets of it that are granted: the naive reading enumerates instead of matching.

import type { LabelSelector } from "../../src/kube/policy-objects.ts";
import type { Ip } from "../../src/net/ip.ts";
import type { Packet } from "../../src/policy/model.ts";
import { inRange, type Place, placeOf, readNetwork, selects } from "./naive-parts.ts";
import { serviceOf, type World } from "./world.ts";

/** All addresses and services (`serviceOf`) that anybody will ask about. */
export interface Universe {
  addresses: ReadonlySet<Ip>;
  places: ReadonlyMap<Ip, Place>;
  services: ReadonlySet<string>;
  known: readonly Service[];
}

/** The parts of a service; `port` and `icmp` are absent for what has none. */
export interface Service {
  text: string;
  protocol: number;
  port?: number;
  icmp?: { type: number; code: number };
}

/** Allows every service of `services` to (egress) or from (ingress) every address of `peers`. */
export interface Grant {
  peers: ReadonlySet<Ip>;
  services: ReadonlySet<string>;
}

/** What one kind of object grants a pod in one direction; undefined where no such object is about it: then all may pass. */
export type Grants = { allowed: readonly Grant[]; audit: boolean } | undefined;

/** The universe of these packets in this world. */
export function universeOf({ pods }: World, packets: readonly Packet[]): Universe {
  const addresses = new Set([
    ...pods.flatMap((pod) => pod.addresses),
    ...packets.flatMap(({ source, destination }) => [source, destination]),
  ]);
  const services = new Set(packets.map(serviceOf));
  const places = new Map([...addresses].map((address) => [address, placeOf(address)]));
  return { addresses, places, services, known: [...services].map(readService) };
}

function readService(text: string): Service {
  const [protocol = -1, first, second] = text.split("/").map(Number);
  if (first === undefined) return { text, protocol };
  return second === undefined
    ? { text, protocol, port: first }
    : { text, protocol, icmp: { type: first, code: second } };
}

/** Those of a universe's services for which `holds` says yes. */
export function servicesWhere({ known }: Universe, holds: (service: Service) => boolean): Set<string> {
  return new Set(known.filter(holds).map(({ text }) => text));
}

/** The addresses of a block without those that are cut out of it; none where any of it cannot be read. */
export function addressesOf(universe: Universe, cidr: string, except: readonly string[]): Ip[] {
  const block = readNetwork(cidr);
  const holes = except.map(readNetwork);
  if (block === undefined || holes.includes(undefined)) return [];
  return [...universe.places]
    .filter(([, place]) => inRange(block, place) && !holes.some((hole) => hole !== undefined && inRange(hole, place)))
    .map(([address]) => address);
}

const nameLabel = "kubernetes.io/metadata.name";

/**
 * Of a namespace whose object is not known only the name is known, which the server makes a label of every namespace: a selector that
 * asks for anything else is not sure to select it.
 */
export function selectsNamespace({ objects }: World, selector: LabelSelector, name: string): boolean {
  const known = objects.namespaces.find(({ metadata }) => metadata.name === name);
  if (known !== undefined) return selects(selector, known.metadata.labels ?? {});
  const keys = [
    ...Object.keys(selector.matchLabels ?? {}),
    ...(selector.matchExpressions ?? []).map((expression) => expression.key),
  ];
  return keys.every((key) => key === nameLabel) && selects(selector, { [nameLabel]: name });
}

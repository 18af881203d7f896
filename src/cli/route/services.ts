// Addresses of services, which are no places: kube-proxy puts that of a pod in their stead.

import { z } from "zod";
import { isFault } from "../../base/fault.ts";
import { defineKind, meta } from "../../kube/schema.ts";
import { type Ip, parseIp } from "../../net/ip.ts";
import type { OpenCluster } from "../cluster/open.ts";
import { serviceFault } from "./name.ts";
import type { Place } from "./place.ts";

const services = defineKind(
  { group: "", version: "v1", kind: "Service", plural: "services", namespaced: true },
  z.object({
    metadata: meta,
    spec: z.object({ clusterIPs: z.array(z.string()).exactOptional() }).prefault({}),
  }),
);

/** Whose address each is; empty where services may not be listed. */
export type ServiceNames = ReadonlyMap<Ip, { name: string; namespace?: string }>;

/** Reads all services. Without that right an address of one stays an address that nobody has. */
export async function readServices({ kube }: OpenCluster): Promise<ServiceNames> {
  const listed = await kube.list(services).catch((error: unknown) => {
    if (isFault(error, "kube-refused")) return undefined;
    throw error;
  });
  return new Map(
    (listed?.items ?? []).flatMap(({ metadata: { name, namespace }, spec: { clusterIPs = [] } }) =>
      clusterIPs
        .flatMap((text) => parseIp(text) ?? [])
        .map((ip) => [ip, { name, ...(namespace === undefined ? {} : { namespace }) }] as const),
    ),
  );
}

/** True for an address that nobody has, which may be a service's. */
export const mayBeService = (place: Place): boolean => place.kind === "address" && place.block === undefined;

/** @throws Fault "unsupported-value" where the place is the address of a service */
export function refuseService(place: Place, names: ServiceNames): void {
  if (!mayBeService(place)) return;
  for (const address of place.addresses) {
    const service = names.get(address);
    if (service !== undefined) throw serviceFault(service.name, service.namespace);
  }
}

// Addresses of services, which are no places: kube-proxy puts that of a pod in their stead.

import { z } from "zod";
import { Fault, isFault } from "../../base/fault.ts";
import type { Pod } from "../../kube/core-objects.ts";
import { defineKind, meta } from "../../kube/schema.ts";
import { type Ip, parseIp } from "../../net/ip.ts";
import type { OpenCluster } from "../cluster/open.ts";
import { podKey } from "../cluster/view.ts";
import { offer, serviceFault } from "./name.ts";
import type { Place } from "./place.ts";

export const services = defineKind(
  { group: "", version: "v1", kind: "Service", plural: "services", namespaced: true },
  z.object({
    metadata: meta,
    spec: z
      .object({
        clusterIP: z.string().exactOptional(),
        clusterIPs: z.array(z.string()).exactOptional(),
        selector: z.record(z.string(), z.string()).exactOptional(),
      })
      .prefault({}),
  }),
);
type Service = ReturnType<typeof services.parse>;

interface ServiceName {
  name: string;
  namespace?: string;
  /** Its pods, where files say who they are. */
  pods?: readonly string[];
}

/** Whose address each is; empty where services may not be listed. */
export type ServiceNames = ReadonlyMap<Ip, ServiceName>;

/** Reads all services. Without that right an address of one stays an address that nobody has. */
export async function readServices({ kube }: OpenCluster): Promise<ServiceNames> {
  const listed = await kube.list(services).catch((error: unknown) => {
    if (isFault(error, "kube-refused")) return undefined;
    throw error;
  });
  return namesOf(listed?.items ?? [], ({ metadata: { name, namespace } }) => ({
    name,
    ...(namespace === undefined ? {} : { namespace }),
  }));
}

/** Of services that files say; who their pods are, follows from `pods`. */
export function servicesOfFiles(said: readonly Service[], pods: readonly Pod[]): ServiceNames {
  return namesOf(said, ({ metadata: { name, namespace = "" }, spec: { selector } }) => {
    const asked = Object.entries(selector ?? {});
    const isOf = ({ metadata }: Pod): boolean =>
      asked.length > 0 &&
      metadata.namespace === namespace &&
      asked.every(([key, value]) => metadata.labels?.[key] === value);
    return { name, namespace, pods: pods.filter(isOf).map(({ metadata }) => podKey(namespace, metadata.name)) };
  });
}

function namesOf(all: readonly Service[], nameOf: (service: Service) => ServiceName): ServiceNames {
  return new Map(
    all.flatMap((service) => {
      const { clusterIP = "None", clusterIPs = [clusterIP] } = service.spec;
      return clusterIPs.flatMap((text) => parseIp(text) ?? []).map((ip) => [ip, nameOf(service)] as const);
    }),
  );
}

/** True for an address that nobody has, which may be a service's. */
export const mayBeService = (place: Place): boolean => place.kind === "address" && place.block === undefined;

/** @throws Fault "unsupported-value" where the place is the address of a service */
export function refuseService(place: Place, names: ServiceNames): void {
  if (!mayBeService(place)) return;
  for (const address of place.addresses) {
    const service = names.get(address);
    if (service?.pods !== undefined) throw fileServiceFault(address, service);
    if (service !== undefined) throw serviceFault(service.name, service.namespace);
  }
}

function fileServiceFault(address: Ip, { name, namespace = "", pods = [] }: ServiceName): Fault {
  const says = `${address} is the address of Service ${podKey(namespace, name)}, which is no place`;
  return new Fault(
    "unsupported-value",
    `${says}; ${offer(pods, "ask for one of its pods:", "ask for one of its pods")}`,
  );
}

// A cluster out of YAML files, for reviewers who have none. Addresses are made up.

import { readObjectFiles } from "../../kube/files.ts";
import { type ServiceNames, services, servicesOfFiles } from "../route/services.ts";
import type { Deciding } from "./objects.ts";

export interface FromFiles extends Deciding {
  /** What a reader of answers should know of them. */
  notes: string[];
  services: ServiceNames;
}

/** Reads files and directories. @throws Fault "not-found", "bad-config": see `readObjectFiles` */
export function readFromFiles(paths: readonly string[]): FromFiles {
  const { pods, nodes, policy, namespacesMissing: missing, further } = readObjectFiles(paths, madeUp, services);
  return {
    services: servicesOfFiles(further, pods),
    cluster: { nodes, networks: [], endpoints: [], ledgers: [], programs: [], leases: [], pods, fromFiles: true },
    policy,
    notes: [
      ...(missing.length === 0
        ? []
        : [`no file has these namespaces, which have no labels then: ${missing.join(", ")}`]),
      "pods without a status have made-up addresses of 198.18.0.0/15 and 2001:db8::/32, and are on no node",
    ],
  };
}

/** Networks for measurements and for documentation (RFC 2544, RFC 3849): no policy means them by accident. */
function madeUp(index: number): { ip: string }[] {
  const number = index + 1;
  const host = [number >> 16, (number >> 8) & 255, number & 255];
  return [{ ip: `198.${18 + (host[0] ?? 0)}.${host[1]}.${host[2]}` }, { ip: `2001:db8::${number.toString(16)}` }];
}

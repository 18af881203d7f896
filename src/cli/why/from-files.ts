// A cluster out of YAML files, for reviewers who have none. Addresses are made up.

import { Fault } from "../../base/fault.ts";
import { objectFilesBelow, readObjectFiles } from "../../kube/files.ts";
import { type ServiceNames, services, servicesOfFiles } from "../route/services.ts";
import type { Deciding } from "./objects.ts";

export interface FromFiles extends Deciding {
  /** What a reader of answers should know of them. */
  notes: string[];
  services: ServiceNames;
}

/**
 * Reads files and directories.
 * @throws Fault "not-found" where there is no file in one of them, or no pod in all; that and "bad-config" as `readObjectFiles` says
 */
export function readFromFiles(paths: readonly string[]): FromFiles {
  for (const path of paths)
    if (objectFilesBelow(path).length === 0) throw new Fault("not-found", `${path} has no *.yaml, *.yml or *.json`);
  const {
    pods,
    nodes,
    policy,
    namespacesMissing: missing,
    further,
    count,
    problems,
  } = readObjectFiles(paths, madeUp, services);
  if (pods.length === 0) {
    const cure = "name files that have some, or what makes pods (a Deployment, say)";
    throw new Fault("not-found", `${paths.join(", ")}: ${count} objects read, no pods among them; ${cure}`);
  }
  return {
    services: servicesOfFiles(further, pods),
    cluster: { nodes, networks: [], endpoints: [], ledgers: [], programs: [], leases: [], pods, fromFiles: true },
    policy,
    problems,
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

// Which controller leads, by its Lease: pure.

import type { Lease } from "../../kube/core-objects.ts";
import { type Finding, foreign, secondsSince } from "./finding.ts";

export interface Leader {
  /** "unknown" where the Lease cannot be read. */
  state: "leads" | "expired" | "none" | "unknown";
  /** The instance, without what makes the candidate unique. */
  holder?: string;
  /** When it took the lease; RFC 3339. */
  since?: string;
  renewed?: string;
  /** "namespace/name" of the Lease. */
  lease?: string;
}

/** Clocks of a laptop and of a cluster differ; what is this much older than its duration is expired all the same. */
const clockSlackSeconds = 30;

/** `leases` are those of the controller's name in all namespaces; of several, the one that was renewed last counts. */
export function readLeader(leases: readonly Lease[] | string, nowMs: number): { leader: Leader; findings: Finding[] } {
  const object = "controller";
  if (typeof leases === "string") {
    const says = `its Lease cannot be read: ${foreign(leases)}`;
    const cure = "ask for the right to list leases.coordination.k8s.io";
    return {
      leader: { state: "unknown" },
      findings: [{ state: "warn", code: "controller-unknown", object, says, cure }],
    };
  }
  const [newest] = leases.toSorted((a, b) => ((a.spec.renewTime ?? "") < (b.spec.renewTime ?? "") ? 1 : -1));
  if (newest === undefined) {
    const says = "there is no Lease of it: no controller has ever led here";
    const cure =
      "see the Deployment fairlead-controller; where lease.name is set in its configuration, give it by --lease";
    return { leader: { state: "none" }, findings: [{ state: "bad", code: "no-controller", object, says, cure }] };
  }
  const { namespace = "", name } = newest.metadata;
  const { holderIdentity = "", acquireTime, renewTime, leaseDurationSeconds = 0 } = newest.spec;
  const lease = `${namespace}/${name}`;
  const about = {
    state: "bad",
    object: `Lease ${lease}`,
    ...(renewTime === undefined ? {} : { since: renewTime }),
  } as const;
  const cure = `kubectl -n ${namespace} get pods -l app.kubernetes.io/component=controller; see what they log`;
  const times = {
    lease,
    ...(renewTime === undefined ? {} : { renewed: renewTime }),
    ...(acquireTime === undefined ? {} : { since: acquireTime }),
  };
  if (holderIdentity === "") {
    const says = "nobody holds it: the controller was stopped";
    return { leader: { state: "none", ...times }, findings: [{ ...about, code: "no-controller", says, cure }] };
  }
  const holder = foreign(holderIdentity.replace(/_[0-9a-f-]{36}$/, ""));
  const silentSeconds = secondsSince(renewTime, nowMs) ?? Number.POSITIVE_INFINITY;
  if (silentSeconds > leaseDurationSeconds + clockSlackSeconds) {
    const says = `${holder} has not renewed it for longer than its ${leaseDurationSeconds} s, and no other controller took it`;
    return {
      leader: { state: "expired", holder, ...times },
      findings: [{ ...about, code: "controller-expired", says, cure }],
    };
  }
  return { leader: { state: "leads", holder, ...times }, findings: [] };
}

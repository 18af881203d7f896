// Which versions of Fairlead are at work in a cluster: pure.

import { type Finding, foreign } from "./finding.ts";
import { imageVersion, programOf } from "./programs.ts";
import type { ClusterView } from "./view.ts";

export interface VersionCount {
  version: string;
  agents: number;
  controllers: number;
}

/** Which versions are at work, and on how many nodes. */
export function versionsOf(view: ClusterView): VersionCount[] {
  const counts = new Map<string, VersionCount>();
  const count = (version: string): VersionCount => {
    const held = counts.get(version) ?? { version, agents: 0, controllers: 0 };
    counts.set(version, held);
    return held;
  };
  for (const { metadata, spec } of view.networks)
    if (view.node(metadata.name) !== undefined) count(foreign(spec.agentVersion)).agents += 1;
  for (const pod of view.programs) {
    const version = programOf(pod) === "controller" ? imageVersion(pod) : undefined;
    if (version !== undefined) count(version).controllers += 1;
  }
  return [...counts.values()].toSorted((a, b) => (a.version < b.version ? -1 : 1));
}

const counted = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;

/** Several versions at once: usual during an upgrade, and worth a look after it. */
export function skewFindings(view: ClusterView): Finding[] {
  const versions = versionsOf(view);
  if (versions.length < 2) return [];
  const shown = versions
    .map(({ version, agents, controllers }) =>
      [version, agents > 0 ? counted(agents, "agent") : "", controllers > 0 ? counted(controllers, "controller") : ""]
        .filter(Boolean)
        .join(" "),
    )
    .join(", ");
  return [
    {
      state: "warn",
      code: "version-skew",
      object: "versions",
      says: `several are at work: ${shown}`,
      cure: "let the upgrade end: kubectl -n fairlead-system rollout status daemonset/fairlead-agent",
    },
  ];
}

// The node examined by its own agent: one finding for each thing that pods hang on, each bad one with its cure.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe } from "../base/fault.ts";
import type { LoopStatus } from "../base/loop.ts";
import { conflistFile, pluginType } from "../cni/conflist.ts";
import type { Pool } from "../ipam/pool.ts";
import type { Kernel } from "../kernel/contract.ts";
import type { FeatureReport } from "../kernel/features.ts";
import type { AgentConfig } from "./config.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { Finding } from "./finding.ts";
import { missingDropIns } from "./drop-ins.ts";
import type { KeptMasquerade } from "./masquerade.ts";
import { hostLinkPrefix, doomedGroup, reapingGroup } from "./plan.ts";
import type { Policing } from "./policy/police.ts";
import { lookForBypasses } from "./policy/bypass.ts";
import { policyFindings } from "./policy/report.ts";
import { releasesDirectory } from "./releases.ts";
import type { Obstacle } from "./obstacles.ts";
import type { Uplink } from "./uplink.ts";

export interface DiagnoseDeps {
  config: AgentConfig;
  kernel: Kernel;
  pool: Pool;
  uplink: () => Uplink;
  loops: () => LoopStatus[];
  obstacles: () => readonly Obstacle[];
  masquerade: KeptMasquerade["status"];
  policy: Policing["report"];
  /** Absent outside Kubernetes. */
  cluster?: Pick<Cluster, "caches" | "faults">;
  features: () => Promise<FeatureReport[]>;
  /** The built shim, which the installed one must equal. */
  shim: string;
}

/** Free addresses below this share of all are worth a warning. */
const freeShareMin = 0.1;
/** Tracked connections above this share of the table are. */
const trackedShareMax = 0.8;

/** Looks at everything; a look that fails is a finding too. */
export async function diagnose(deps: DiagnoseDeps): Promise<Finding[]> {
  const looks: [string, (deps: DiagnoseDeps) => Finding[] | Promise<Finding[]>][] = [
    ["kernel", lookAtFeatures],
    ["loops", lookAtLoops],
    ["addresses", lookAtAddresses],
    ["uplink", lookAtUplink],
    ["forwarding", lookAtObstacles],
    ["masquerade", lookAtMasquerade],
    ["cluster", lookAtCluster],
    ["policy", lookAtPolicy],
    ["connections", lookAtConnections],
    ["links", lookAtLinks],
    ["plugin", lookAtPlugin],
    ["files", lookAtFiles],
  ];
  const findings: Finding[] = [];
  for (const [name, look] of looks) {
    try {
      findings.push(...(await look(deps)));
    } catch (error) {
      findings.push({
        name,
        state: "bad",
        says: `cannot be looked at: ${describe(error)}`,
        cure: "see the agent's log",
      });
    }
  }
  return findings;
}

const ok = (name: string, says: string): Finding => ({ name, state: "ok", says });

/** What is wrong, or the one line that says that nothing is. */
function orOk(problems: Finding[], name: string, says: string): Finding[] {
  return problems.length > 0 ? problems : [ok(name, says)];
}

async function lookAtFeatures({ features }: DiagnoseDeps): Promise<Finding[]> {
  const reports = await features();
  const lacking = reports.filter((report) => !report.ok);
  const problems = lacking.map(({ needed, message }): Finding => ({
    name: "kernel",
    state: needed ? "bad" : "warn",
    says: message,
    cure: "boot a distribution's own kernel, 5.15 or newer",
  }));
  return orOk(problems, "kernel", `has all of ${reports.length} features`);
}

async function lookAtPolicy({ policy, kernel, pool }: DiagnoseDeps): Promise<Finding[]> {
  const report = policy();
  return report === undefined ? [] : [...policyFindings(report), ...(await lookForBypasses(kernel, pool))];
}

function lookAtLoops({ loops }: DiagnoseDeps): Finding[] {
  const failing = loops().filter(({ failures }) => failures > 0);
  const problems = failing.map(({ name, failures, lastPass }): Finding => ({
    name: "loops",
    state: "bad",
    says: `${name} has failed ${failures} times in a row: ${describe(lastPass?.error)}`,
    cure: "mend what the message names; the loop tries again by itself",
  }));
  return orOk(problems, "loops", `all ${loops().length} do well`);
}

function lookAtAddresses({ pool }: DiagnoseDeps): Finding[] {
  const amount = (count: number | bigint): string => (count > 1_000_000 ? "many" : String(count));
  return pool.usage().map(({ family, total, live, cooling, withheld, free, why }): Finding => {
    const held = withheld === 0 ? "" : `${amount(withheld)} withheld, `;
    const says = `IPv${family}: ${live} in use, ${cooling} cooling, ${held}${amount(free)} free`;
    if (withheld > 0) return { name: "addresses", state: free > 0n ? "warn" : "bad", says, cure: `each is ${why}` };
    if (free > BigInt(Math.floor(Number(total) * freeShareMin))) return ok("addresses", says);
    return {
      name: "addresses",
      state: free > 0n ? "warn" : "bad",
      says,
      cure: "give this node another block, or run fewer pods on it",
    };
  });
}

function lookAtUplink({ uplink, pool }: DiagnoseDeps): Finding[] {
  const { link, addresses, mtu } = uplink();
  const larger = pool.all().filter(({ attachment: { wire } }) => (wire?.mtu ?? 0) > mtu);
  const problems: Finding[] = [
    ...(link.up
      ? []
      : [{ name: "uplink", state: "bad", says: `${link.name} is down`, cure: `ip link set ${link.name} up` } as const]),
    ...(larger.length === 0
      ? []
      : [
          {
            name: "uplink",
            state: "warn",
            says: `${larger.length} pods have a larger MTU than ${link.name} (${mtu})`,
            cure: "delete those pods: they are made anew with the smaller one",
          } as const,
        ]),
  ];
  return orOk(problems, "uplink", `${link.name}, ${Object.values(addresses).join(" ")}, MTU ${mtu}`);
}

function lookAtObstacles({ obstacles }: DiagnoseDeps): Finding[] {
  const problems = obstacles().map(({ what, cure }): Finding => ({
    name: "forwarding",
    state: "bad",
    says: what,
    cure,
  }));
  return orOk(problems, "forwarding", "no chain of another program drops forwarded packets by its policy");
}

function lookAtCluster({ cluster }: DiagnoseDeps): Finding[] {
  if (cluster === undefined) return [];
  const name = "cluster";
  const silent = cluster.caches().filter(({ failures }) => failures > 0);
  const problems = [
    ...silent.map(({ kind, lastError = "no answer" }): Finding => ({
      name,
      state: "warn",
      says: `cannot follow ${kind}: ${lastError}; pods go on with what is known`,
      cure: "see that this node reaches the API server, and that the agent's rights are those of deploy/",
    })),
    ...cluster.caches().flatMap(({ kind, unreadable }): Finding[] =>
      unreadable === 0
        ? []
        : [
            {
              name,
              state: "warn",
              says: `${unreadable} objects of kind ${kind} cannot be read`,
              cure: "see the agent's log for their names; are agent and CRDs of one version?",
            },
          ],
    ),
    ...cluster.faults().map(({ message }): Finding => ({
      name,
      state: "bad",
      says: message,
      cure: "give the node an address on this segment, or its block to no other node",
    })),
  ];
  const followed = cluster.caches().map(({ kind, objects }) => `${objects} ${kind}`);
  return orOk(problems, name, `follows ${followed.join(", ")}`);
}

function lookAtMasquerade({ masquerade }: DiagnoseDeps): Finding[] {
  const status = masquerade();
  if (status === undefined) return [ok("masquerade", "is off")];
  const { file, path, problem = "", unknownKeys, plan } = status;
  const problems: Finding[] = [
    ...(file === "bad"
      ? [
          {
            name: "masquerade",
            state: plan === undefined ? "bad" : "warn",
            says: `${problem}; ${plan === undefined ? "nothing was loaded since the agent's start" : "the rules before it stay"}`,
            cure: `mend ${path}: it is read again by itself`,
          } as const,
        ]
      : []),
    ...unknownKeys.map((key): Finding => ({
      name: "masquerade",
      state: "warn",
      says: `"${key}" in ${path} is none of its keys, and does nothing`,
      cure: "mind the spelling, or remove it",
    })),
  ];
  const source = file === "absent" ? `defaults, no file at ${path}` : path;
  return orOk(
    problems,
    "masquerade",
    `${plan?.from.join(" ") ?? "nothing yet"}, but for ${plan?.keep.length ?? 0} ranges (${source})`,
  );
}

async function lookAtConnections({ kernel }: DiagnoseDeps): Promise<Finding[]> {
  const [count, max] = await kernel.node.readSysctls(["netfilter/nf_conntrack_count", "netfilter/nf_conntrack_max"]);
  if (count === undefined || max === undefined) return [ok("connections", "are not tracked on this node")];
  const says = `${count} of ${max} tracked`;
  if (Number(count) <= Number(max) * trackedShareMax) return [ok("connections", says)];
  return [
    { name: "connections", state: "bad", says, cure: `sysctl -w net.netfilter.nf_conntrack_max=${Number(max) * 2}` },
  ];
}

async function lookAtLinks({ kernel, pool }: DiagnoseDeps): Promise<Finding[]> {
  const links = await kernel.node.links();
  const strangers = links.filter(
    ({ group, kind, name }) =>
      (group === doomedGroup || group === reapingGroup) && (kind !== "veth" || !name.startsWith(hostLinkPrefix)),
  );
  const indexes = new Set(links.map(({ index }) => index));
  const lost = pool
    .all()
    .filter(
      ({ state, leaving, attachment: { wire } }) =>
        state === "ready" && !leaving && wire !== undefined && !indexes.has(wire.hostIndex),
    );
  const problems: Finding[] = [
    ...strangers.map(({ name, group }): Finding => ({
      name: "links",
      state: "bad",
      says: `${name} stands in link group ${group}, which Fairlead empties`,
      cure: `ip link set ${name} group default`,
    })),
    ...lost.map(({ attachment: { containerId, ifname } }): Finding => ({
      name: "links",
      state: "bad",
      says: `the link of ${ifname} in container ${containerId} is gone: its pod is cut off`,
      cure: "delete the pod; it is released by itself after a minute",
    })),
  ];
  const { length } = pool.all();
  return orOk(
    problems,
    "links",
    length === 1 ? "1 attachment, with its link" : `${length} attachments, each with its link`,
  );
}

function lookAtPlugin({ config: { paths }, shim }: DiagnoseDeps): Finding[] {
  const installed = join(paths.cniBin, pluginType);
  const files = existsSync(paths.cniConf) ? readdirSync(paths.cniConf) : [];
  const [first] = files.filter((name) => /\.(conf|conflist|json)$/.test(name)).sort();
  const problems: Finding[] = [
    ...(existsSync(installed) && readFileSync(installed).equals(readFileSync(shim))
      ? []
      : [
          {
            name: "plugin",
            state: "bad",
            says: `${installed} is not this agent's plugin`,
            cure: "nothing: it is placed again within half a minute",
          } as const,
        ]),
    ...(first === conflistFile
      ? []
      : [
          {
            name: "plugin",
            state: "bad",
            says: `container runtimes take ${first === undefined ? "no configuration" : first} in ${paths.cniConf}, not ${conflistFile}`,
            cure:
              first === undefined
                ? "see the agent's log"
                : `move ${join(paths.cniConf, first)} away, if that plugin is no longer in use`,
          } as const,
        ]),
  ];
  return orOk(problems, "plugin", `${installed}, ${conflistFile} is the first in ${paths.cniConf}`);
}

function lookAtFiles({ config: { paths, host } }: DiagnoseDeps): Finding[] {
  const named = (directory: string, form: RegExp): string[] =>
    existsSync(directory)
      ? readdirSync(directory)
          .filter((name) => form.test(name))
          .map((name) => join(directory, name))
      : [];
  const aside = named(paths.state, /\.(damaged|foreign)-[0-9TZ-]+$/);
  const unread = named(releasesDirectory(paths.socket), /\.bad$/);
  const missing = host.dropIns ? missingDropIns(paths.etc) : [];
  const problems: Finding[] = [
    ...aside.map((file): Finding => ({
      name: "files",
      state: "warn",
      says: `${file} was set aside at a start`,
      cure: "look why (the log of that start says), then remove it",
    })),
    ...unread.map((file): Finding => ({
      name: "files",
      state: "warn",
      says: `${file} is a DEL that could not be read`,
      cure: "look at it, then remove it",
    })),
    ...missing.map(({ file, why }): Finding => ({
      name: "files",
      state: "warn",
      says: `${file} is missing or changed: ${why}`,
      cure: "nothing: it is written again within half a minute; then reload that daemon",
    })),
  ];
  return orOk(problems, "files", `nothing set aside in ${paths.state} and ${dirname(paths.socket)}`);
}

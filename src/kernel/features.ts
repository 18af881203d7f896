// What this machine's kernel can do: each thing is tried in throw-away namespaces, and never guessed from a version.

import { describe } from "../base/fault.ts";
import { localMac } from "../net/mac.ts";
import { type Addon, loadAddon } from "./addon.ts";
import { applyAll } from "./apply.ts";
import { dumpConnectionsRequest } from "./conntrack/messages.ts";
import { type Stage, withStage } from "./features-stage.ts";
import { addressMessage } from "./netlink/address.ts";
import { createWriter, reserve, written } from "./netlink/codec.ts";
import {
  controlMessage,
  createSequence,
  messageFlag,
  readVerdict,
  splitMessages,
  verdictFault,
  writeMessage,
} from "./netlink/message.ts";
import { createChannel } from "./nftables/channel.ts";
import { createGuard } from "./nftables/guard.ts";
import { newTable } from "./nftables/messages.ts";
import { elementMessages, newSet } from "./nftables/set-messages.ts";

/** What was tried, in the order of trying. */
export type FeatureName =
  | "addon"
  | "namespaces"
  | "veth"
  | "ipv6"
  | "strict-dumps"
  | "nftables"
  | "concatenated-sets"
  | "destroy-elements"
  | "source-guard"
  | "connection-tracking"
  | "tcx-programs";

export interface FeatureReport {
  feature: FeatureName;
  ok: boolean;
  /** False where Fairlead works without it. */
  needed: boolean;
  /** One sentence: what there is; or what is missing, why, and what to do. */
  message: string;
}

export interface ProbeOptions {
  /** True where pods are to have IPv6 addresses. */
  ipv6: boolean;
  /** How the addon is had, and the name of the program unshare(1): for tests. */
  addon?: () => Addon;
  unshare?: string;
}

interface Feature {
  /** In words, with the oldest Linux that has it. */
  what: string;
  /** What to do where it is missing. */
  cure: string;
  needed: boolean;
  /** Settles where it is there, throws where it is not. */
  attempt: (stage: Stage) => Promise<void>;
}

type TriedName = Exclude<FeatureName, "addon" | "namespaces">;

const probeTable = "fairlead-probe";
const probeSet = { name: "pairs", key: ["iifname", "ip saddr"] } as const;
const probeKey = Buffer.alloc(20);

/** An index that no link of a fresh namespace has; that of its loopback. */
const noLink = 0x7fff_ffff;
const loopback = 1;

const features: Readonly<Record<TriedName, Feature>> = {
  veth: {
    what: "veth links with the peer in another namespace (Linux 2.6.33)",
    cure: "load the module veth (CONFIG_VETH)",
    needed: true,
    attempt: async ({ first, second }) => {
      const end = (name: string) => ({ name, mac: localMac(Buffer.from(name.padEnd(6, "."))), mtu: 1500 });
      await applyAll(first, [
        { op: "link.addVeth", ...end("flprobe"), group: 99, peer: { netns: second, ...end("eth0") } },
      ]);
      if ((await second.link("eth0")) === undefined) throw new Error("the peer is not where it was asked for");
    },
  },
  ipv6: {
    what: "IPv6 (Linux 2.6)",
    cure: "boot without ipv6.disable=1 (CONFIG_IPV6), or configure no IPv6 block",
    needed: true,
    attempt: async ({ first }) => {
      const [setting] = await first.readSysctls(["ipv6/conf/all/disable_ipv6"]);
      if (setting === undefined) throw new Error("net/ipv6/conf does not exist");
    },
  },
  "strict-dumps": {
    what: "rtnetlink lists that obey what they are asked for (Linux 5.0)",
    cure: "nothing has to be done: lists are read whole",
    needed: false,
    attempt: async ({ routeCall }) => {
      if (!(await refusesDumpOf(noLink, routeCall)))
        throw new Error("a list of the addresses of no link is not refused");
    },
  },
  nftables: {
    what: "nftables tables for both families (Linux 3.14)",
    cure: "load the module nf_tables (CONFIG_NF_TABLES_INET)",
    needed: true,
    attempt: ({ netfilterCall }) => {
      const channel = createChannel({ call: netfilterCall, nextSequence: createSequence() });
      return channel.commit("make a table", [newTable(probeTable)]);
    },
  },
  "concatenated-sets": {
    what: "nftables sets of pairs of link and address (Linux 4.1)",
    cure: "use a kernel whose nftables has concatenated sets",
    needed: true,
    attempt: (stage) => changeProbeSet(stage, "newElements"),
  },
  "destroy-elements": {
    what: "nftables elements removed whether they are there or not (Linux 6.3)",
    cure: "nothing has to be done: sets are read before elements are removed, which is slower",
    needed: false,
    attempt: (stage) => changeProbeSet(stage, "destroyElements"),
  },
  "source-guard": {
    what: "the whole source guard, read back as it was loaded (Linux 4.10)",
    cure: "load the module nf_tables (CONFIG_NF_TABLES, CONFIG_NFT_OBJREF)",
    needed: true,
    attempt: async ({ netfilterCall }) => {
      const guard = createGuard({ call: netfilterCall, nextSequence: createSequence() });
      await guard.ensure([]);
      if (await guard.ensure([])) throw new Error("it does not read back as it was loaded");
    },
  },
  "connection-tracking": {
    what: "list of tracked connections (Linux 2.6.14)",
    cure: "load the module nf_conntrack_netlink (CONFIG_NF_CT_NETLINK), or let the connections of removed pods time out",
    needed: false,
    attempt: async ({ netfilterCall }) => {
      const writer = createWriter(64);
      writeMessage(writer, dumpConnectionsRequest(), 1);
      const end = splitMessages(await netfilterCall(written(writer))).find(isControl);
      const verdict = end === undefined ? undefined : readVerdict(end);
      if (verdict !== undefined && verdict.errno !== 0) throw verdictFault("listing connections", verdict);
    },
  },
  "tcx-programs": {
    what: "sight of eBPF programs that are attached to links by tcx (Linux 6.6; older ones have no tcx)",
    cure: "allow bpf(2) in the agent's seccomp profile, or see with bpftool net what goes round policy",
    needed: false,
    attempt: async ({ first }) => {
      if ((await first.tcxPrograms([loopback])) === undefined) throw new Error("bpf(2) is refused");
    },
  },
};

/** In the order in which they are tried: what comes later may need what came before. */
const triedNames = [
  "veth",
  "ipv6",
  "strict-dumps",
  "nftables",
  "concatenated-sets",
  "destroy-elements",
  "source-guard",
  "connection-tracking",
  "tcx-programs",
] as const satisfies readonly TriedName[];

/** Why each feature is missing; undefined where it is there. */
type Reasons = ReadonlyMap<TriedName, string | undefined>;

/** What was found once all of it worked: a kernel does not lose what it has. */
let complete: Reasons | undefined;

/**
 * Tries every feature, in namespaces of its own, so that nothing on the machine changes; takes some 30 ms. What a machine can
 * lack is no error but a report; each feature has one, in the order of FeatureName.
 */
export async function probeMachine(options: ProbeOptions): Promise<FeatureReport[]> {
  const reports: FeatureReport[] = [];
  try {
    const addon = (options.addon ?? loadAddon)();
    reports.push(present("addon", "the kernel addon is loaded"));
    const reasons = complete ?? (await withStage({ addon, unshare: options.unshare ?? "unshare" }, tryAll));
    if ([...reasons.values()].every((reason) => reason === undefined)) complete = reasons;
    reports.push(present("namespaces", "network namespaces can be made and entered"));
    for (const [feature, reason] of reasons) reports.push(report(feature, reason, options));
  } catch (error) {
    const failed = reports.length === 0 ? "addon" : "namespaces";
    reports.push({ feature: failed, ok: false, needed: true, message: describe(error) });
    const untried = (["namespaces", ...triedNames] as const).slice(reports.length - 1);
    for (const feature of untried) {
      reports.push({
        feature,
        ok: false,
        needed: isNeeded(feature, options),
        message: `not tried, for want of ${failed}`,
      });
    }
  }
  return reports;
}

async function tryAll(stage: Stage): Promise<Reasons> {
  const reasons = new Map<TriedName, string | undefined>();
  for (const name of triedNames) {
    try {
      await features[name].attempt(stage);
      reasons.set(name, undefined);
    } catch (error) {
      reasons.set(name, describe(error));
    }
  }
  return reasons;
}

function report(feature: TriedName, reason: string | undefined, options: ProbeOptions): FeatureReport {
  const { what, cure } = features[feature];
  if (reason === undefined) return { ...present(feature, what), needed: isNeeded(feature, options) };
  const doThis = reason.includes("EPERM") ? "run as root with CAP_NET_ADMIN and CAP_SYS_ADMIN" : cure;
  return { feature, ok: false, needed: isNeeded(feature, options), message: `no ${what}: ${reason}; ${doThis}` };
}

function present(feature: FeatureName, message: string): FeatureReport {
  return { feature, ok: true, needed: true, message };
}

function isNeeded(feature: FeatureName, { ipv6 }: ProbeOptions): boolean {
  if (feature === "addon" || feature === "namespaces") return true;
  return feature === "ipv6" ? ipv6 : features[feature].needed;
}

async function changeProbeSet({ netfilterCall }: Stage, change: "newElements" | "destroyElements"): Promise<void> {
  const channel = createChannel({ call: netfilterCall, nextSequence: createSequence() });
  await channel.commit("make a set", [newTable(probeTable), newSet(probeTable, probeSet, 1)]);
  await channel.commit("change a set", elementMessages(change, probeTable, probeSet.name, [probeKey]));
}

/** True where the kernel looks at the link that a request for addresses names, and finds none such. */
async function refusesDumpOf(link: number, call: Stage["routeCall"]): Promise<boolean> {
  const writer = createWriter(64);
  const fill = () => {
    const at = reserve(writer, 8); // struct ifaddrmsg: the link is its last member
    writer.bytes.writeUInt32LE(link, at + 4);
  };
  writeMessage(writer, { type: addressMessage.get, flags: messageFlag.dump, fill }, 1);
  const answers = splitMessages(await call(written(writer)));
  return answers.some((answer) => isControl(answer) && readVerdict(answer).errno !== 0);
}

function isControl({ type }: { type: number }): boolean {
  return type === controlMessage.error || type === controlMessage.done;
}

// The agent's configuration file: every key, its default and its check.

import { z } from "zod";
import { kubernetesKeys } from "../kube/config.ts";
import { masqueradePortRangesMax } from "../kernel/contract.ts";
import { type Cidr, cidrFamily, cidrPrefix, cidrsOverlap } from "../net/cidr.ts";
import { ipFamily } from "../net/ip.ts";
import { cidr, ip } from "../net/schema.ts";
import { policyKeys } from "../policy/keys.ts";
import { parsePorts } from "./masquerade-config.ts";

/** Blocks a node can own. */
const blocksMax = 64;
/** Static routes in one configuration file. */
const routesMax = 4096;
/** Ranges of pods that the file may name for masquerade. */
const podRangesMax = 64;
/** Longest path of a unix socket (sun_path of unix(7), less the closing zero). */
const socketPathLenMax = 107;

const absolutePath = z.string().startsWith("/", "must be an absolute path").max(4000);

const block = cidr.refine(
  (value) => cidrPrefix(value) >= (cidrFamily(value) === 4 ? 16 : 48),
  "is too large for one node: an IPv4 block is /16 or smaller, an IPv6 block /48 or smaller",
);

const blocks = z
  .array(block)
  .max(blocksMax)
  .superRefine((values, context) => {
    for (const [index, value] of values.entries()) {
      const earlier = values.slice(0, index).find((other) => cidrsOverlap(other, value));
      if (earlier !== undefined) {
        context.addIssue({ code: "custom", path: [index], message: `${value} overlaps ${earlier}` });
      }
    }
  });

const route = z
  .strictObject({ to: cidr, via: ip })
  .refine(({ to, via }) => cidrFamily(to) === ipFamily(via), "`to` and `via` must be of one family");

const ports = z.string().transform((text, context) => {
  const parsed = parsePorts(text);
  if (parsed !== undefined && parsed.length <= masqueradePortRangesMax) return parsed;
  context.addIssue(
    `"${text}" is not a list of ports such as 1024-29999,32768-65535: at most ${masqueradePortRangesMax} ranges, none of which overlap`,
  );
  return z.NEVER;
});

/** Flags of ip-masq-agent in its words, beside what it has no flag for. */
const masquerade = z.strictObject({
  enabled: z.boolean().default(false),
  /** ip-masq-agent's file, or a directory with that file under the name `config`. */
  configFile: absolutePath.default("/etc/fairlead/ip-masq-agent"),
  /** Ranges of pods beside those that the node knows by itself. */
  podRanges: z.array(cidr).max(podRangesMax).default([]),
  ipv6: z.boolean().default(false),
  nomasqAllReservedRanges: z.boolean().default(false),
  toPorts: ports.prefault(""),
  randomFully: z.boolean().default(true),
});

const nodeName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, "must be a node name: lower-case letters, digits, '-' and '.'");

const keys = z.strictObject({
  node: z.strictObject({ name: nodeName }),
  paths: z
    .strictObject({
      socket: absolutePath.max(socketPathLenMax).default("/run/fairlead/cni.sock"),
      state: absolutePath.default("/var/lib/fairlead"),
      cniConf: absolutePath.default("/etc/cni/net.d"),
      cniBin: absolutePath.default("/opt/cni/bin"),
      etc: absolutePath.default("/etc"),
    })
    .prefault({}),
  /** Present: the node's blocks, and the ways to others, come from the cluster. */
  kubernetes: kubernetesKeys.exactOptional(),
  addresses: z.strictObject({ mode: z.literal("routes", 'only "routes" is known'), blocks: blocks.default([]) }),
  routes: z.array(route).max(routesMax).default([]),
  mtu: z
    .union([z.literal("auto"), z.int().min(1280, "must be at least 1280, what IPv6 needs").max(65_535)])
    .default("auto"),
  masquerade: masquerade.prefault({}),
  policy: policyKeys
    .extend({
      /** Files that say who may talk to whom, for a node without Kubernetes. */
      directory: absolutePath.exactOptional(),
    })
    .prefault({}),
  host: z.strictObject({ dropIns: z.boolean().default(true) }).prefault({}),
  status: z.enum(["normal", "strict"]).default("normal"),
  /** Where a kubelet asks whether the agent lives and serves: a TCP port of 127.0.0.1. */
  probes: z.strictObject({ port: z.int().min(1).max(65_535) }).exactOptional(),
  log: z.strictObject({ level: z.enum(["trace", "debug", "info", "warn", "error"]).default("info") }).prefault({}),
});

type Keys = z.output<typeof keys>;

/** The schema of `fairlead agent --config FILE`. `nodeNameGiven`: what the file need not say then. */
export function agentConfigSchemaFor(nodeNameGiven?: string): z.ZodType<Keys> {
  const named =
    nodeNameGiven === undefined
      ? keys
      : keys.extend({ node: z.strictObject({ name: nodeName.default(nodeNameGiven) }).prefault({}) });
  return named.superRefine(({ kubernetes, addresses, policy }, context) => {
    if (kubernetes !== undefined && policy.directory !== undefined) {
      const message = "must be absent beside `kubernetes`: the cluster says who may talk to whom";
      context.addIssue({ code: "custom", path: ["policy", "directory"], message });
    }
    const wrong =
      kubernetes === undefined && addresses.blocks.length === 0
        ? "needs at least one block, or `kubernetes: {}` for blocks that the cluster gives"
        : kubernetes !== undefined && addresses.blocks.length > 0
          ? "must be absent beside `kubernetes`: the cluster gives the blocks"
          : undefined;
    if (wrong !== undefined) context.addIssue({ code: "custom", path: ["addresses", "blocks"], message: wrong });
  });
}

export const agentConfigSchema = agentConfigSchemaFor();

export type AgentConfig = Readonly<Keys>;

/** Among them is one of IPv6. */
export function hasIpv6(blocks: readonly Cidr[]): boolean {
  return blocks.some((block) => cidrFamily(block) === 6);
}

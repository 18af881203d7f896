// The controller's configuration file: every key, its default and its check.

import { z } from "zod";
import { type Cidr, cidrFamily, cidrPrefix, cidrsOverlap } from "../net/cidr.ts";
import { cidr, ip } from "../net/schema.ts";
import { kubernetesKeys } from "../kube/config.ts";
import { controllerPolicyKeys } from "../policy/keys.ts";
import { blockPrefixDefault, blockSizeProblem } from "../ipam/node-blocks.ts";

/** Ranges that are no node's: services in each family, and what else lies inside a range. */
const serviceRangesMax = 16;

const objectName = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, "must be lower-case letters, digits and '-'");

const range = z
  .strictObject({ cidr, blockPrefix: z.int().min(8).max(128).exactOptional() })
  .transform(({ cidr: network, blockPrefix }) => ({
    cidr: network,
    blockPrefix: blockPrefix ?? blockPrefixDefault(network),
  }))
  .superRefine(({ cidr: network, blockPrefix }, context) => {
    const problem = blockSizeProblem(network, blockPrefix);
    if (problem !== undefined) context.addIssue({ code: "custom", path: ["blockPrefix"], message: problem });
  });

const ranges = z
  .array(range)
  .max(2, "has at most one range of each family")
  .superRefine((values, context) => {
    const [first, second] = values;
    if (first === undefined || second === undefined || cidrFamily(first.cidr) !== cidrFamily(second.cidr)) return;
    const what = cidrsOverlap(first.cidr, second.cidr) ? "overlaps" : "is of the same family as";
    context.addIssue({
      code: "custom",
      path: [1, "cidr"],
      message: `${second.cidr} ${what} ${first.cidr}; two ranges must be one of IPv4 and one of IPv6`,
    });
  });

/** The schema of `fairlead controller --config FILE`. */
export const controllerConfigSchema = z
  .strictObject({
    kubernetes: kubernetesKeys.prefault({}),
    assign: z.enum(["fairlead", "cluster"], 'must be "fairlead" or "cluster"'),
    ranges: ranges.default([]),
    serviceRanges: z.array(cidr).max(serviceRangesMax).default([]),
    lease: z
      .strictObject({
        namespace: objectName.default("fairlead-system"),
        name: objectName.default("fairlead-controller"),
        durationMs: z.int().min(5000, "must be at least 5000").max(120_000).default(15_000),
      })
      .prefault({}),
    policy: controllerPolicyKeys.prefault({}),
    provider: z.literal("none", 'only "none" is known').default("none"),
    status: z
      .strictObject({
        address: ip.prefault("127.0.0.1"),
        port: z.int().min(0).max(65_535).default(9686),
      })
      .prefault({}),
    log: z.strictObject({ level: z.enum(["trace", "debug", "info", "warn", "error"]).default("info") }).prefault({}),
  })
  .superRefine(({ assign, ranges: given, serviceRanges }, context) => {
    const add = (path: (string | number)[], message: string): void =>
      context.addIssue({ code: "custom", path, message });
    if (assign === "fairlead" && given.length === 0)
      add(["ranges"], "is missing: `assign: fairlead` cuts node blocks out of one range, or one of each family");
    for (const [index, { cidr: network }] of given.entries()) {
      const whole = serviceRanges.find((service) => coversAll(service, network));
      if (whole !== undefined)
        add(["ranges", index, "cidr"], `${network} lies inside the service range ${whole}: no block is left to give`);
    }
  });

export type ControllerConfig = Readonly<z.output<typeof controllerConfigSchema>>;
export type RangeConfig = ControllerConfig["ranges"][number];

function coversAll(outer: Cidr, inner: Cidr): boolean {
  return cidrsOverlap(outer, inner) && cidrPrefix(outer) <= cidrPrefix(inner);
}

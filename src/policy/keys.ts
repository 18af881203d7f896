// The keys of a configuration that change what policy means on a node: `policy` in the agent's file, and what of it the controller and `why` need.

import { z } from "zod";
import { ip } from "../net/schema.ts";

/** Addresses of resolvers, and labels of their pods, that one configuration names. */
const resolversMax = 16;
const labelsMax = 16;

const resolvers = z.strictObject({
  namespace: z.string().min(1).max(63).default("kube-system"),
  podLabels: z
    .record(z.string().min(1).max(317), z.string().max(63))
    .refine((labels) => Object.keys(labels).length > 0, "needs at least one label: without any it is every pod there")
    .refine((labels) => Object.keys(labels).length <= labelsMax, `has at most ${labelsMax} labels`)
    .default({ "k8s-app": "kube-dns" }),
  addresses: z.array(ip).max(resolversMax).default([]),
});

/** Who resolves names for pods: pods of a namespace by their labels, and addresses beside them. */
export type Resolvers = z.output<typeof resolvers>;

/** `true` is the resolvers that most clusters have, `false` and nothing is none. */
const allowDns = z
  .preprocess((given) => (given === true ? {} : given === false ? null : given), resolvers.nullable())
  .default(null);

/** `policy` of the agent's configuration. */
export const policyKeys = z.strictObject({
  groupsJudgeOwnNode: z.boolean().default(false),
  allowDns,
  metadata: z.enum(["open", "closed"]).default("open"),
});

/** `policy` of the controller's: it tells nodes who the resolvers are. */
export const controllerPolicyKeys = z.strictObject({ allowDns });

export interface PolicyKeys {
  /** Egress groups judge what a pod sends to its own node, too. */
  groupsJudgeOwnNode: boolean;
  /** Egress of groups lets pods ask these for names, whatever the groups say; null: as the groups say. */
  allowDns: Resolvers | null;
  /** "closed": pods do not get the credentials that the cloud's metadata address gives. */
  metadata: "open" | "closed";
}

/** What holds where nobody has written a key. */
export const defaultKeys: PolicyKeys = { groupsJudgeOwnNode: false, allowDns: null, metadata: "open" };

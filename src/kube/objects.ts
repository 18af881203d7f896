// Fairlead's own kinds: what agents and controller write for each other. The CRDs in deploy/ are made from these schemas.

import { z } from "zod";
import { cidr, defineKind, ip, listByKeys, listIsSet, meta, objectName, serverRule, uid } from "./schema.ts";

export const ourGroup = "fairlead.dev";
export const ourVersion = "v1alpha1";

/** Blocks of one node. */
export const blocksOfNodeMax = 64;
/** Addresses of one node, as its kubelet reports them. */
const nodeAddressesMax = 8;
/** Attachments that one node can publish: what a node can hold at most. */
export const endpointsMax = 1024;
/** Families a pod can have. */
const familiesMax = 2;
/** Faults that an agent reports of itself at once. */
export const faultsMax = 16;
/** Code of the fault by which an agent says that packets can go round policy on its node. */
export const policyBypassed = "policy-bypassed";
/** Code of the fault by which an agent says whose break-glass opens pods of its node. */
export const policyOpened = "break-glass";
/** Code of a fault: break-glass is asked for, and not given. */
export const policyOpeningRefused = "break-glass-refused";
/** Blocks promised in the ledger and not yet seen on their nodes. */
export const ledgerPendingMax = 256;
/** A bit for each of 65,536 blocks, in base64. */
const bitmapTextMax = 10_924;

/** As every status of ours has them. */
export const condition = z.object({
  type: z.string().max(64),
  status: z.enum(["True", "False", "Unknown"]),
  reason: z.string().max(64),
  message: z.string().max(1024),
  lastTransitionTime: z.string().max(40),
});
export type Condition = z.output<typeof condition>;

export const nodeNetworkSchema = z.object({
  metadata: meta,
  /** What the node is and asks for; written by its agent. */
  spec: z.object({
    nodeUid: uid.describe("uid of the Node that the agent serves; blocks are given to this one, not to a namesake"),
    providerID: z.string().max(256).exactOptional().describe("the machine, as Node.spec.providerID names it"),
    agentVersion: z.string().max(64),
    faults: z
      .array(z.object({ code: z.string().max(64), message: z.string().max(1024), since: z.string().max(40) }))
      .max(faultsMax)
      .exactOptional()
      .describe("what the agent cannot do at present"),
  }),
  /** What the node has; written by the controller. */
  status: z
    .object({
      nodeUid: uid.describe("uid of the Node that the rest of this status is about"),
      observedGeneration: z.int().exactOptional(),
      blocks: z
        .array(z.object({ cidr }))
        .max(blocksOfNodeMax)
        .meta(listByKeys("cidr"))
        .describe("networks that the pods of this node get their addresses from"),
      addresses: z
        .array(ip)
        .max(nodeAddressesMax)
        .meta(listIsSet)
        .describe("where other nodes send packets for these blocks"),
      conditions: z.array(condition).max(8).meta(listByKeys("type")).exactOptional(),
    })
    .exactOptional(),
});

export type NodeNetwork = z.output<typeof nodeNetworkSchema>;
export const nodeNetworks = defineKind(
  { group: ourGroup, version: ourVersion, kind: "NodeNetwork", plural: "nodenetworks", namespaced: false },
  nodeNetworkSchema,
);

const endpoint = z.object({
  namespace: objectName,
  name: objectName,
  uid,
  interface: z.string().max(15).describe("name of the interface in the pod"),
  addresses: z.array(ip).min(1).max(familiesMax),
});
export type Endpoint = z.output<typeof endpoint>;

export const nodeEndpointsSchema = z.object({
  metadata: meta,
  nodeUid: uid.describe("uid of the Node that these attachments are on"),
  endpoints: z.array(endpoint).max(endpointsMax).describe("the attachments of this node, from ADD until DEL"),
  policy: z
    .object({
      groups: z.string().max(256).describe("a mark of the SecurityGroups, as they were when the kernel was told last"),
    })
    .exactOptional()
    .describe(
      "by what pods of this node are judged; absent while none is in a group, and where something goes round it",
    ),
});

export type NodeEndpoints = z.output<typeof nodeEndpointsSchema>;
export const nodeEndpoints = defineKind(
  { group: ourGroup, version: ourVersion, kind: "NodeEndpoints", plural: "nodeendpoints", namespaced: false },
  nodeEndpointsSchema,
);

export const blockLedgerSchema = z.object({
  metadata: meta,
  spec: z
    .object({
      range: cidr.describe("the network that is cut into node blocks"),
      blockPrefix: z.int().min(8).max(128).describe("prefix length of a block"),
      used: z
        .string()
        .max(bitmapTextMax)
        .describe(
          "one bit a block, in base64, the first block at the highest bit of the first byte; set: given or never given",
        ),
      cursor: z.int().min(0).describe("block at which the next search begins"),
      pending: z
        .array(z.object({ block: z.int().min(0), node: objectName, nodeUid: uid }))
        .max(ledgerPendingMax)
        .describe("blocks taken for a node that may not have been told yet"),
    })
    .meta(
      serverRule(
        "self.range == oldSelf.range && self.blockPrefix == oldSelf.blockPrefix",
        "range and blockPrefix cannot change: every block given would mean another network",
      ),
    ),
});

export type BlockLedger = z.output<typeof blockLedgerSchema>;
export const blockLedgers = defineKind(
  { group: ourGroup, version: ourVersion, kind: "BlockLedger", plural: "blockledgers", namespaced: false },
  blockLedgerSchema,
);

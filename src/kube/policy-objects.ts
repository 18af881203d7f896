// The kinds that say who may talk to whom: Kubernetes' own, the one that AWS clusters have, and Fairlead's.

import { z } from "zod";
import { condition, ourGroup, ourVersion } from "./objects.ts";
import { defineKind, ip, listByKeys, meta, objectName, serverRules } from "./schema.ts";

/** Rules of a security group in one direction. */
export const rulesOfGroupMax = 120;
/** Peers of one rule, and ranges of ports of one rule. */
export const peersOfRuleMax = 64;
export const portsOfRuleMax = 64;
/** Networks cut out of one block: as many as the API server can check within its budget for a kind. */
export const exceptMax = 16;
/** Security groups of one binding: the hard limit. */
export const groupsOfBindingMax = 16;
/** Labels, expressions and values of an expression in a selector of ours. */
const selectorPartsMax = 16;
const selectorValuesMax = 32;
/** Longest key of a label, with its prefix, and longest value (RFC 1123 and Kubernetes' limits). */
const labelKeyMax = 317;
const labelValueMax = 63;
/** Longest text of a network. */
const networkTextMax = 43;
/** Endpoints of one slice, as EndpointSlice has it. */
export const endpointsOfSliceMax = 100;
/** Named ports of one endpoint. */
export const portsOfEndpointMax = 64;
/** Longest text of a membership's selector. */
const peerTextMax = 8192;

/** For a key that must be there: what to say where it is not. */
const required = (words: string) => ({
  error: ({ input }: { input?: unknown }) => (input === undefined ? `is required; ${words}` : undefined),
});

/** What the server checks of it, it checks by itself for Kubernetes' own kinds. */
const labelSelector = z.object({
  matchLabels: z.record(z.string(), z.string()).exactOptional(),
  matchExpressions: z
    .array(
      z.object({
        key: z.string(),
        operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
        values: z.array(z.string()).exactOptional(),
      }),
    )
    .exactOptional(),
});
export type LabelSelector = z.output<typeof labelSelector>;

const namespaceSchema = z.object({ metadata: meta });
export type Namespace = z.output<typeof namespaceSchema>;
export const namespaces = defineKind(
  { group: "", version: "v1", kind: "Namespace", plural: "namespaces", namespaced: false },
  namespaceSchema,
);

const serviceAccountSchema = z.object({ metadata: meta });
export type ServiceAccount = z.output<typeof serviceAccountSchema>;
/** Followed for their labels, which bindings select by. */
export const serviceAccounts = defineKind(
  { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts", namespaced: true },
  serviceAccountSchema,
);

/** `port` is a number or a name, absent: all of them. */
const policyPort = z.object({
  protocol: z.enum(["TCP", "UDP", "SCTP"]).exactOptional(),
  port: z.union([z.int(), z.string()], "must be a number, or the name of a port").exactOptional(),
  endPort: z.int().exactOptional(),
});
const policyPeer = z.object({
  podSelector: labelSelector.exactOptional(),
  namespaceSelector: labelSelector.exactOptional(),
  ipBlock: z.object({ cidr: z.string(), except: z.array(z.string()).exactOptional() }).exactOptional(),
});
export const networkPolicySchema = z.object({
  metadata: meta,
  spec: z
    .object({
      podSelector: labelSelector.prefault({}),
      policyTypes: z.array(z.enum(["Ingress", "Egress"])).exactOptional(),
      ingress: z
        .array(z.object({ from: z.array(policyPeer).exactOptional(), ports: z.array(policyPort).exactOptional() }))
        .exactOptional(),
      egress: z
        .array(z.object({ to: z.array(policyPeer).exactOptional(), ports: z.array(policyPort).exactOptional() }))
        .exactOptional(),
    })
    .prefault({}),
});
export type NetworkPolicy = z.output<typeof networkPolicySchema>;
export type NetworkPolicyPort = z.output<typeof policyPort>;
export type NetworkPolicyPeer = z.output<typeof policyPeer>;
export const networkPolicies = defineKind(
  {
    group: "networking.k8s.io",
    version: "v1",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    namespaced: true,
  },
  networkPolicySchema,
);

/** A selector in an object of ours: as Kubernetes has it, with the bounds and rules that a server needs to be told. */
const ourSelector = z.object({
  matchLabels: z
    .record(z.string(), z.string().max(labelValueMax))
    .meta({ maxProperties: selectorPartsMax })
    .exactOptional(),
  matchExpressions: z
    .array(
      z
        .object({
          key: z.string().min(1).max(labelKeyMax),
          operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
          values: z.array(z.string().max(labelValueMax)).max(selectorValuesMax).exactOptional(),
        })
        .meta(
          serverRules([
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "In and NotIn need values, Exists and DoesNotExist have none",
          ]),
        ),
    )
    .max(selectorPartsMax)
    .exactOptional(),
});

/** Text, since an object with one bad network is still to be read: the server checks it, and whoever reads it once more. */
const networkText = z
  .string()
  .max(networkTextMax)
  .meta(
    serverRules([
      "isCIDR(self) && cidr(self) == cidr(self).masked()",
      "must be a network such as 10.4.1.0/24, with no bits set after its prefix",
    ]),
  );

const groupPeer = z
  .object({
    cidr: networkText.exactOptional().describe("a network such as 10.0.0.0/8; 0.0.0.0/0 and ::/0 are everybody"),
    except: z.array(networkText).max(exceptMax).exactOptional().describe("networks cut out of cidr"),
    securityGroup: objectName.exactOptional().describe("the members of this group, which may be the group itself"),
    namespaceSelector: ourSelector
      .exactOptional()
      .describe("pods of these namespaces; {} is every namespace. Never pods on the host's network"),
    podSelector: ourSelector.exactOptional().describe("of those namespaces these pods only"),
  })
  .meta(
    serverRules(
      [
        "(has(self.cidr) ? 1 : 0) + (has(self.securityGroup) ? 1 : 0) + (has(self.namespaceSelector) ? 1 : 0) == 1",
        "a peer is one of cidr, securityGroup and namespaceSelector",
      ],
      ["!has(self.except) || has(self.cidr)", "except is cut out of cidr, which is missing"],
      [
        "!has(self.except) || !has(self.cidr) || !isCIDR(self.cidr) || self.except.all(e, !isCIDR(e) || cidr(self.cidr).containsCIDR(e))",
        "each network of except must lie within cidr",
      ],
      [
        "!has(self.podSelector) || has(self.namespaceSelector)",
        "podSelector needs namespaceSelector beside it; {} there is every namespace",
      ],
    ),
  );
export type GroupPeer = z.output<typeof groupPeer>;

const protocolForm = /^(tcp|udp|sctp|icmp|icmpv6|[0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$/;
const notProtocol = ({ input = "" }: { input?: string | undefined }): string =>
  protocolForm.test(input.toLowerCase())
    ? `is ${JSON.stringify(input)}; write ${input.toLowerCase()}`
    : "is none of tcp, udp, sctp, icmp, icmpv6 and the numbers 0 to 255";

/** What people write where a number belongs; undefined for what has no cure of its own. */
function notPort({ input }: { input?: unknown }): string | undefined {
  if (typeof input !== "string") return undefined;
  const [range, first, last] = /^(\d{1,5})-(\d{1,5})$/.exec(input) ?? [];
  if (range !== undefined) return `is a range; write port: ${first}, endPort: ${last}`;
  if (/^\d{1,5}$/.test(input)) return `is text; write ${input} without quotes`;
  return `is ${JSON.stringify(input)}; security groups take port numbers, not names`;
}
const portNumber = z.int({ error: notPort }).min(0).max(65_535);

const groupRuleParts = {
  protocol: z
    .string()
    .max(6)
    .regex(protocolForm, { error: notProtocol })
    .exactOptional()
    .describe("tcp, udp, sctp, icmp, icmpv6 or the number of an IP protocol; absent: all"),
  ports: z
    .array(
      z
        .object({ port: portNumber, endPort: portNumber.exactOptional() })
        .meta(serverRules(["!has(self.endPort) || self.endPort >= self.port", "endPort must not be below port"])),
    )
    .max(portsOfRuleMax)
    .exactOptional()
    .describe("destination ports of tcp, udp and sctp; absent: all"),
  icmp: z
    .object({ type: z.int().min(0).max(255), code: z.int().min(0).max(255).exactOptional() })
    .exactOptional()
    .describe("message of icmp and icmpv6; absent: all"),
  description: z.string().max(255).exactOptional(),
};
const peers = z
  .array(
    groupPeer,
    required(
      '{ namespaceSelector: {} } is every pod of the cluster, { cidr: 0.0.0.0/0 } and { cidr: "::/0" } are everybody',
    ),
  )
  .min(1)
  .max(peersOfRuleMax);
const ruleOfGroup = serverRules(
  [
    "!has(self.ports) || (has(self.protocol) && self.protocol in ['tcp', 'udp', 'sctp'])",
    "ports need protocol tcp, udp or sctp",
  ],
  [
    "!has(self.icmp) || (has(self.protocol) && self.protocol in ['icmp', 'icmpv6'])",
    "icmp needs protocol icmp or icmpv6",
  ],
);
const ingressRule = z.object({ ...groupRuleParts, from: peers }).meta(ruleOfGroup);
const egressRule = z.object({ ...groupRuleParts, to: peers }).meta(ruleOfGroup);

/** Of a SecurityGroup's and a binding's status. */
const conditions = z.array(condition).max(8).meta(listByKeys("type")).exactOptional();

export const securityGroupSchema = z.object({
  metadata: meta,
  spec: z.object({
    ingress: z
      .array(ingressRule)
      .max(rulesOfGroupMax)
      .exactOptional()
      .describe("what may come to members; nothing else may"),
    egress: z
      .array(egressRule)
      .max(rulesOfGroupMax)
      .exactOptional()
      .describe("what members may send; absent: everything, []: nothing"),
    bindableFrom: z
      .object(
        ourSelector.shape,
        required("{} lets every namespace bind the group, matchLabels those that have the labels"),
      )
      .describe("namespaces whose bindings may name this group; {} is every namespace"),
    mode: z.enum(["enforce", "audit"]).exactOptional().describe("audit: what would be denied is logged and passes"),
  }),
  /** Written by the controller. */
  status: z
    .object({
      observedGeneration: z.int().exactOptional(),
      members: z.int().min(0).describe("pods that bindings make members and that have an address"),
      nodesTotal: z.int().min(0).exactOptional().describe("nodes that have members"),
      nodesEnforcing: z
        .int()
        .min(0)
        .exactOptional()
        .describe("of these, those whose kernel judges all members by this generation"),
      conditions,
    })
    .exactOptional(),
});
export type SecurityGroup = z.output<typeof securityGroupSchema>;
export type GroupRule = z.output<typeof ingressRule> | z.output<typeof egressRule>;
export const securityGroups = defineKind(
  { group: ourGroup, version: ourVersion, kind: "SecurityGroup", plural: "securitygroups", namespaced: false },
  securityGroupSchema,
);

export const securityGroupBindingSchema = z.object({
  metadata: meta,
  spec: z
    .object({
      podSelector: ourSelector.exactOptional().describe("pods of this namespace; {} is every one"),
      serviceAccountSelector: ourSelector
        .exactOptional()
        .describe("pods whose service account has these labels; with podSelector, both must match"),
      groups: z.array(objectName).min(1).max(groupsOfBindingMax).describe("names of SecurityGroups"),
    })
    .meta(
      serverRules([
        "has(self.podSelector) || has(self.serviceAccountSelector)",
        "a binding needs podSelector or serviceAccountSelector; podSelector: {} is every pod of the namespace",
      ]),
    ),
  /** Written by the controller. */
  status: z
    .object({
      observedGeneration: z.int().exactOptional(),
      refused: z
        .array(z.object({ group: objectName, reason: z.enum(["NotBindable", "Unknown"]) }))
        .max(groupsOfBindingMax)
        .meta(listByKeys("group"))
        .exactOptional()
        .describe("groups of spec that the pods are not made members of"),
      pods: z
        .int()
        .min(0)
        .exactOptional()
        .describe("pods that it selects, ended ones and those of the host's network left out"),
      conditions,
    })
    .exactOptional(),
});
export type SecurityGroupBinding = z.output<typeof securityGroupBindingSchema>;
export const securityGroupBindings = defineKind(
  {
    group: ourGroup,
    version: ourVersion,
    kind: "SecurityGroupBinding",
    plural: "securitygroupbindings",
    namespaced: true,
  },
  securityGroupBindingSchema,
);

export const securityGroupPolicySchema = z.object({
  metadata: meta,
  spec: z
    .object({
      podSelector: labelSelector.exactOptional(),
      serviceAccountSelector: labelSelector.exactOptional(),
      securityGroups: z.object({ groupIds: z.array(z.string()).exactOptional() }).exactOptional(),
    })
    .prefault({}),
});
export type SecurityGroupPolicy = z.output<typeof securityGroupPolicySchema>;
/** As clusters of AWS have it; a group id is the name of a SecurityGroup. */
export const securityGroupPolicies = defineKind(
  {
    group: "vpcresources.k8s.aws",
    version: "v1beta1",
    kind: "SecurityGroupPolicy",
    plural: "securitygrouppolicies",
    namespaced: true,
  },
  securityGroupPolicySchema,
);

export const membershipSliceSchema = z.object({
  metadata: meta,
  membership: z.string().min(1).max(64).describe("which membership this is a part of: a hash of `peer`"),
  peer: z.string().max(peerTextMax).describe("the selector or group that the addresses stand for"),
  endpoints: z
    .array(
      z.object({
        addresses: z.array(ip).min(1).max(2),
        ports: z
          .array(z.object({ name: z.string().max(63), protocol: z.string().max(4), port: z.int().min(1).max(65_535) }))
          .max(portsOfEndpointMax)
          .exactOptional()
          .describe("ports that containers of the pod have given names to"),
      }),
    )
    .max(endpointsOfSliceMax),
});
export type MembershipSlice = z.output<typeof membershipSliceSchema>;
export const membershipSlices = defineKind(
  { group: ourGroup, version: ourVersion, kind: "MembershipSlice", plural: "membershipslices", namespaced: false },
  membershipSliceSchema,
);

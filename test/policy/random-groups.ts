// Random security groups, and the objects that bind pods to them.

import fc from "fast-check";
import type {
  GroupPeer,
  GroupRule,
  LabelSelector,
  SecurityGroup,
  SecurityGroupBinding,
  SecurityGroupPolicy,
} from "../../src/kube/policy-objects.ts";
import {
  anyCidr,
  anyExcept,
  anyNamespaceName,
  anyNamespaceSelector,
  anyPodSelector,
  portNumbers,
} from "./random-objects.ts";

/** Groups that a world can have; the last name is never a group's. */
export const groupNames = ["web", "db", "jump", "any"] as const;
const anyGroupName = fc.constantFrom<string>(...groupNames, ...groupNames, "unknown");
export const accountNames = ["default", "robot"] as const;

/** What the API server refuses, or what nobody can tell the meaning of. */
const anyOddPeer = fc.constantFrom<GroupPeer[]>(
  {},
  { podSelector: {} },
  { except: ["10.4.1.0/24"] },
  { cidr: "0.0.0.0/0", securityGroup: "web" },
  { cidr: "0.0.0.0/0", namespaceSelector: {} },
  { securityGroup: "web", namespaceSelector: {} },
  { cidr: "0.0.0.0/0", podSelector: {} },
  { securityGroup: "web", podSelector: { matchLabels: { app: "a" } } },
  { securityGroup: "web", except: ["10.4.1.0/24"] },
  { namespaceSelector: {}, except: ["10.4.1.0/24"] },
);
const anyPeer = fc.oneof(
  { weight: 1, arbitrary: anyOddPeer },
  { weight: 5, arbitrary: fc.record({ cidr: anyCidr, except: anyExcept }, { requiredKeys: ["cidr"] }) },
  { weight: 4, arbitrary: fc.record({ securityGroup: anyGroupName }) },
  {
    weight: 4,
    arbitrary: fc.record(
      { namespaceSelector: anyNamespaceSelector, podSelector: anyPodSelector },
      { requiredKeys: ["namespaceSelector"] },
    ),
  },
);
const anyPeers = fc.array(anyPeer, { minLength: 1, maxLength: 3, size: "max" });

const anyPorts = fc.array(
  fc.record(
    { port: fc.constantFrom(0, ...portNumbers), endPort: fc.constantFrom(80, 443, 8090, 65_535) },
    { requiredKeys: ["port"] },
  ),
  { maxLength: 3 },
);
const anyIcmp = fc.constantFrom<{ type: number; code?: number }[]>(
  { type: 3, code: 1 },
  { type: 3, code: 1 },
  { type: 3, code: 0 },
  { type: 3, code: 0 },
  { type: 3 },
  { type: 8 },
  { type: 128, code: 0 },
);
/** A rule names protocols, then what these protocols have; now and then what they do not have. */
const anyTraffic = fc.oneof(
  { weight: 6, arbitrary: fc.constant({}) },
  {
    weight: 8,
    arbitrary: fc.record(
      { protocol: fc.constantFrom("tcp", "tcp", "udp", "sctp", "6", "17"), ports: anyPorts },
      { requiredKeys: ["protocol"] },
    ),
  },
  { weight: 2, arbitrary: fc.record({ ports: anyPorts }) },
  {
    weight: 9,
    arbitrary: fc.record(
      { protocol: fc.constantFrom("icmp", "icmpv6", "1", "58"), icmp: anyIcmp },
      { requiredKeys: ["protocol"] },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Pick<GroupRule, "protocol" | "ports" | "icmp">[]>(
      { protocol: "tcp", icmp: { type: 8 } },
      { protocol: "icmp", ports: [{ port: 80 }] },
      { protocol: "47", ports: [{ port: 80 }] },
      { icmp: { type: 8 } },
      { icmp: { type: 8 }, ports: [{ port: 80 }] },
    ),
  },
  { weight: 1, arbitrary: fc.record({ protocol: fc.constantFrom("47", "0", "255", "300") }) },
);

const anyIngress = fc.tuple(anyTraffic, anyPeers).map(([traffic, from]) => ({ ...traffic, from }));
const anyEgress = fc.tuple(anyTraffic, anyPeers).map(([traffic, to]) => ({ ...traffic, to }));

const anyIngressRules = fc.array(anyIngress, { maxLength: 4, size: "max" });
const others = {
  egress: fc.array(anyEgress, { maxLength: 4, size: "max" }),
  bindableFrom: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, { weight: 2, arbitrary: anyNamespaceSelector }),
  mode: fc.constantFrom("enforce" as const, "enforce", "audit"),
};
export const anyGroup: fc.Arbitrary<SecurityGroup> = fc.record({
  metadata: fc.record({ name: fc.constant("") }),
  spec: fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ ...others, ingress: anyIngressRules }, { requiredKeys: ["bindableFrom", "ingress"] }),
    },
    { weight: 1, arbitrary: fc.record(others, { requiredKeys: ["bindableFrom"] }) },
  ),
});

const anyAccountSelector = fc.constantFrom<LabelSelector[]>(
  {},
  { matchLabels: { duty: "a" } },
  { matchExpressions: [{ key: "duty", operator: "NotIn", values: ["a"] }] },
);

export const anyBinding: fc.Arbitrary<SecurityGroupBinding> = fc.record({
  metadata: fc.record({ name: fc.constant(""), namespace: anyNamespaceName }),
  spec: fc
    .tuple(
      fc.oneof(
        { weight: 4, arbitrary: fc.record({ podSelector: anyPodSelector }) },
        { weight: 1, arbitrary: fc.record({ serviceAccountSelector: anyAccountSelector }) },
        {
          weight: 1,
          arbitrary: fc.record({ podSelector: anyPodSelector, serviceAccountSelector: anyAccountSelector }),
        },
      ),
      fc.uniqueArray(anyGroupName, { minLength: 1, maxLength: 3 }),
    )
    .map(([selectors, groups]) => ({ ...selectors, groups })),
});

/** As in clusters of AWS: no selector at all, which is invalid and selects nobody, can be written. */
export const anyGroupPolicy: fc.Arbitrary<SecurityGroupPolicy> = fc.record({
  metadata: fc.record({ name: fc.constant(""), namespace: anyNamespaceName }),
  spec: fc.record(
    {
      podSelector: anyPodSelector,
      serviceAccountSelector: anyAccountSelector,
      securityGroups: fc.record({ groupIds: fc.uniqueArray(anyGroupName, { maxLength: 2 }) }, { requiredKeys: [] }),
    },
    { requiredKeys: [] },
  ),
});

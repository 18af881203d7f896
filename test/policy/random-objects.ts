// Random objects of policy, from few words, so that selectors select and rules meet each other: NetworkPolicy and what it is made of.

import fc from "fast-check";
import type {
  LabelSelector,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from "../../src/kube/policy-objects.ts";

/** The last has no Namespace object: its pods were seen before it. */
export const namespaceNames = ["shop", "bank", "lab", "void"] as const;
export const anyNamespaceName = fc.oneof(
  { weight: 8, arbitrary: fc.constant("shop") },
  { weight: 4, arbitrary: fc.constant("bank") },
  { weight: 2, arbitrary: fc.constant("lab") },
  { weight: 2, arbitrary: fc.constant("void") },
);
export const metadataName = "kubernetes.io/metadata.name";

/** Ours, on a NetworkPolicy: "audit" puts it on probation. */
export const modeName = "fairlead.dev/mode";

const anyValue = fc.constantFrom("a", "b");
export const anyLabels = fc.record({ app: anyValue, tier: anyValue }, { requiredKeys: [] });

function anySelectorOf(keys: fc.Arbitrary<string>, values: fc.Arbitrary<string>): fc.Arbitrary<LabelSelector> {
  const matchLabels = fc.dictionary(keys, values, { minKeys: 1, maxKeys: 1 });
  const listed = fc.record({
    key: keys,
    operator: fc.constantFrom("In" as const, "NotIn" as const),
    values: fc.uniqueArray(values, { minLength: 1, maxLength: 2 }),
  });
  const bare = fc.record({ key: keys, operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const) });
  /** What the API server refuses in Kubernetes' own kinds. */
  const odd = fc
    .oneof(
      fc.record({ key: keys, operator: fc.constantFrom("In" as const, "NotIn" as const) }),
      fc.record({
        key: keys,
        operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const),
        values: fc.tuple(values),
      }),
    )
    .map((expression): LabelSelector => ({ matchExpressions: [expression] }));
  const matchExpressions = fc.array(fc.oneof(listed, bare), { minLength: 1, maxLength: 2 });
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: odd },
    { weight: 1, arbitrary: fc.constant<LabelSelector>({ matchLabels: {}, matchExpressions: [] }) },
    { weight: 4, arbitrary: fc.record({ matchLabels }) },
    { weight: 3, arbitrary: fc.record({ matchExpressions }) },
    { weight: 1, arbitrary: fc.record({ matchLabels, matchExpressions }) },
  );
}

export const anyPodSelector = anySelectorOf(fc.constantFrom("app", "tier"), anyValue);
export const anyNamespaceSelector = fc.oneof(
  { weight: 2, arbitrary: anySelectorOf(fc.constantFrom("env", "team"), anyValue) },
  { weight: 1, arbitrary: anySelectorOf(fc.constant(metadataName), fc.constantFrom("shop", "bank", "lab")) },
);

/** Blocks that cut through pods (10.4.<node>.2 and on), nodes (172.30.0.11 and on) and outside; each holds one of the next or overlaps it. */
const v4Blocks =
  "0.0.0.0/0 0.0.0.0/1 128.0.0.0/1 10.0.0.0/8 10.4.0.0/16 10.4.0.0/23 10.4.1.0/24 10.4.1.2/31 10.4.1.4/30 10.4.1.2/32 10.4.2.0/29";
const v4Far = "172.30.0.0/24 172.30.0.11/32 172.30.0.12/31 192.0.2.0/24 192.0.2.128/25 192.0.2.9/32";
const v6Blocks =
  "::/0 ::/1 8000::/1 fd00::/8 fd00:10:4::/48 fd00:10:4:1::/64 fd00:10:4:1::2/127 fd00:10:4:1::2/128 fd00:10:4:2::/125";
const v6Far = "fd00:30::/64 fd00:30::11/128 2001:db8::/32 2001:db8::8000:0:0:0/65 2001:db8::9/128";
/** Written as the API server lets pass: with bits after the prefix, leading zeros, IPv4 within IPv6. */
const loose =
  "10.4.1.3/24 192.0.2.9/25 fd00:10:4:1::3/64 010.4.1.0/024 ::ffff:10.4.1.0/120 FD00:10:4:1:0::/64 ::192.0.2.0/120";
/** No networks at all. */
const bad = ["10.4.1.0", "10.4.1.0/33", "10.4.1.0/-1", "300.4.1.0/24", "fd00::/129", "fd00:::/8", "pods", "", "/8"];
const words = (text: string): string[] => text.split(" ");
const anyBlock = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...words(v4Blocks), ...words(v4Far)) },
  { weight: 12, arbitrary: fc.constantFrom(...words(v6Blocks), ...words(v6Far)) },
  { weight: 2, arbitrary: fc.constantFrom(...words(loose)) },
);
/** Wide ones more often, since holes are seen in them. */
const anyWideBlock = fc.constantFrom("0.0.0.0/0", "10.0.0.0/8", "10.4.0.0/16", "::/0", "fd00::/8");
export const anyCidr = fc.oneof(
  { weight: 12, arbitrary: anyBlock },
  { weight: 10, arbitrary: anyWideBlock },
  { weight: 1, arbitrary: fc.constantFrom(...bad) },
);
export const anyExcept = fc.array(
  fc.oneof({ weight: 30, arbitrary: anyBlock }, { weight: 1, arbitrary: fc.constantFrom(...bad) }),
  { maxLength: 3 },
);

export const portNames = ["web", "dns", "admin"] as const;
export const portNumbers = [1, 53, 80, 443, 8080, 8090, 65_535] as const;
const anyNumber = fc.constantFrom(...portNumbers);
const anyProtocol = fc.constantFrom("TCP" as const, "TCP" as const, "UDP" as const, "SCTP" as const);
const anyPort = fc.oneof(
  { weight: 5, arbitrary: fc.record({ protocol: anyProtocol, port: anyNumber }, { requiredKeys: ["port"] }) },
  {
    weight: 12,
    arbitrary: fc.record(
      { protocol: anyProtocol, port: fc.constantFrom<string>(...portNames, ...portNames, "nameless") },
      { requiredKeys: ["port"] },
    ),
  },
  {
    weight: 4,
    arbitrary: fc.record(
      {
        protocol: anyProtocol,
        port: fc.constantFrom(1, 53, 80, 8080),
        endPort: fc.constantFrom(80, 443, 8090, 65_535),
      },
      { requiredKeys: ["port", "endPort"] }, // now and then the end comes before the beginning
    ),
  },
  { weight: 2, arbitrary: fc.record({ protocol: anyProtocol }, { requiredKeys: [] }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<NetworkPolicyPort[]>(
      { port: 0 },
      { port: -1 },
      { port: 70_000 },
      { port: 0, endPort: 443 },
      { port: 80, endPort: 70_000 },
      { endPort: 443 },
      { port: "web", endPort: 443 },
      { port: "80" },
      { port: "" },
    ),
  },
);

/** What the API server refuses: it does not say whom it means. */
const anyOddPeer = fc.constantFrom<NetworkPolicyPeer[]>(
  {},
  { ipBlock: { cidr: "0.0.0.0/0" }, podSelector: {} },
  { ipBlock: { cidr: "0.0.0.0/0" }, namespaceSelector: {} },
);
const anyPeer = fc.oneof(
  { weight: 1, arbitrary: anyOddPeer },
  { weight: 8, arbitrary: fc.record({ podSelector: anyPodSelector }) },
  { weight: 6, arbitrary: fc.record({ namespaceSelector: anyNamespaceSelector }) },
  { weight: 8, arbitrary: fc.record({ podSelector: anyPodSelector, namespaceSelector: anyNamespaceSelector }) },
  {
    weight: 12,
    arbitrary: fc.record({ ipBlock: fc.record({ cidr: anyCidr, except: anyExcept }, { requiredKeys: ["cidr"] }) }),
  },
);

/** Absent and empty lists mean the same here, and both come. */
const anyPeers = fc.oneof(
  { weight: 1, arbitrary: fc.constant<NetworkPolicyPeer[]>([]) },
  { weight: 5, arbitrary: fc.array(anyPeer, { minLength: 1, maxLength: 3 }) },
);
const anyPorts = fc.oneof(
  { weight: 1, arbitrary: fc.constant<NetworkPolicyPort[]>([]) },
  { weight: 4, arbitrary: fc.array(anyPort, { minLength: 1, maxLength: 4 }) },
);
const anyPolicyTypes = fc.constantFrom<("Ingress" | "Egress")[][]>([], ["Ingress"], ["Egress"], ["Ingress", "Egress"]);

const anyMode = fc.constantFrom({}, { [modeName]: "enforce" }, { [modeName]: "audit" }, { [modeName]: "Audit" });

export const anyNetworkPolicy: fc.Arbitrary<NetworkPolicy> = fc.record({
  metadata: fc.record(
    { name: fc.constant(""), namespace: anyNamespaceName, annotations: anyMode },
    { requiredKeys: ["name", "namespace"] },
  ),
  spec: fc.record(
    {
      podSelector: anyPodSelector,
      policyTypes: anyPolicyTypes,
      ingress: fc.array(fc.record({ from: anyPeers, ports: anyPorts }, { requiredKeys: [] }), { maxLength: 3 }),
      egress: fc.array(fc.record({ to: anyPeers, ports: anyPorts }, { requiredKeys: [] }), { maxLength: 3 }),
    },
    { requiredKeys: ["podSelector"] },
  ),
});

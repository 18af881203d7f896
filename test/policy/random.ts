// Random small and dense worlds, and packets that are aimed at what their objects talk about.

import fc from "fast-check";
import { type Ip, ipFromNumber, parseIp } from "../../src/net/ip.ts";
import type { NamedPort, Packet, PolicyPod } from "../../src/policy/model.ts";
import { readNetwork } from "./naive-parts.ts";
import { accountNames, anyBinding, anyGroup, anyGroupPolicy, groupNames } from "./random-groups.ts";
import {
  anyLabels,
  anyNamespaceName,
  anyNetworkPolicy,
  metadataName,
  namespaceNames,
  portNumbers,
} from "./random-objects.ts";
import type { World } from "./world.ts";

const podsMax = 12;
const nodeNames = ["n1", "n2", "n3"] as const;

function ip(text: string): Ip {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new Error(`${text} is not an address`);
  return parsed;
}

/** Names whose numbers differ from pod to pod; one pod can have a name twice, for two protocols or two numbers. */
const namedPorts: readonly NamedPort[] = [
  { name: "web", protocol: 6, port: 80 },
  { name: "web", protocol: 6, port: 8080 },
  { name: "web", protocol: 17, port: 443 },
  { name: "dns", protocol: 17, port: 53 },
  { name: "dns", protocol: 6, port: 53 },
  { name: "admin", protocol: 6, port: 8090 },
  { name: "admin", protocol: 132, port: 1 },
];

interface PodSeed {
  namespace: string;
  labels: PolicyPod["labels"];
  account: string;
  node: number;
  families: readonly (4 | 6)[];
  ports: readonly NamedPort[];
}

const anyPodSeed: fc.Arbitrary<PodSeed> = fc.record({
  namespace: anyNamespaceName,
  labels: anyLabels,
  account: fc.constantFrom<string>(...accountNames, "gone"),
  node: fc.nat({ max: nodeNames.length - 1 }),
  families: fc.oneof(
    { weight: 12, arbitrary: fc.constant<readonly (4 | 6)[]>([4, 6]) },
    { weight: 1, arbitrary: fc.constantFrom<(readonly (4 | 6)[])[]>([4], [6], []) },
  ),
  ports: fc.subarray([...namedPorts]),
});

function podOf({ namespace, labels, account, node, families, ports }: PodSeed, index: number): PolicyPod {
  const host = (index + 2).toString(16);
  return {
    namespace,
    name: `p${index}`,
    uid: `uid-${index}`,
    labels,
    serviceAccount: account,
    node: nodeNames[node] ?? nodeNames[0],
    addresses: families.map((family) =>
      ip(family === 4 ? `10.4.${node + 1}.${index + 2}` : `fd00:10:4:${node + 1}::${host}`),
    ),
    ports,
    sourceGuard: index % 2 === 0 ? "off" : "yes",
  };
}

/** What the namespaces say of the source guard. */
const guards = ["per-pod", "off", "per-pod"];

/** The third node has one family only. */
const nodes: ReadonlyMap<string, readonly Ip[]> = new Map([
  ["n1", [ip("172.30.0.11"), ip("fd00:30::11")]],
  ["n2", [ip("172.30.0.12"), ip("fd00:30::12")]],
  ["n3", [ip("172.30.0.13")]],
]);

const anyLabelsOfNamespaces = fc.array(
  fc.record({ env: fc.constantFrom("a", "b"), team: fc.constantFrom("a", "b") }, { requiredKeys: [] }),
  { minLength: 3, maxLength: 3 },
);

function renamed<T extends { metadata: { name: string } }>(prefix: string, objects: readonly T[]): T[] {
  return objects.map((object, index) => ({ ...object, metadata: { ...object.metadata, name: `${prefix}${index}` } }));
}

/** In every other world pods may ask some pods for names, and in some of these an address outside. */
const anyResolvers: fc.Arbitrary<World["allowDns"]> = fc.oneof(
  fc.constant(null),
  fc.record({
    namespace: anyNamespaceName,
    podLabels: fc.constantFrom<Record<string, string>[]>({ app: "a" }, { tier: "b" }, { app: "b", tier: "a" }),
    addresses: fc.subarray([ip("192.0.2.9"), ip("2001:db8::9")]),
  }),
);

const nowMs = Date.parse("2026-11-26T12:00:00Z");

/** Seldom one that lasts: it leaves nothing to be denied. The others are over, not begun, too long, the wrong way round, or nothing. */
const anyBreakGlass: fc.Arbitrary<string> = fc.oneof(
  { weight: 16, arbitrary: fc.constant("") },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "2026-11-26T11:00:00Z/2026-11-26T13:00:00Z",
      "2026-11-26T13:00:00+01:00/2026-11-27T13:00:00+01:00",
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      "2026-11-26T11:00:00Z/2026-11-26T12:00:00Z",
      "2026-11-26T12:00:01Z/2026-11-26T13:00:00Z",
      "2026-11-26T11:00:00Z/2026-11-27T11:00:01Z",
      "2026-11-26T13:00:00Z/2026-11-26T11:00:00Z",
      "2026-11-26T13:00:00Z",
      "2026-11-26T11:00:00Z/2026-11-26T13:00:00Z/2026-11-26T13:00:00Z",
      "yes",
    ),
  },
);

export const anyWorld: fc.Arbitrary<World> = fc
  .record({
    pods: fc.array(anyPodSeed, { minLength: 2, maxLength: podsMax, size: "max" }),
    labels: anyLabelsOfNamespaces,
    networkPolicies: fc.array(anyNetworkPolicy, { maxLength: 7, size: "max" }),
    groups: fc.array(anyGroup, { maxLength: groupNames.length, size: "max" }),
    bindings: fc.array(anyBinding, { maxLength: 5, size: "max" }),
    groupPolicies: fc.array(anyGroupPolicy, { maxLength: 2, size: "max" }),
    groupsJudgeOwnNode: fc.boolean(),
    allowDns: anyResolvers,
    metadata: fc.constantFrom("open", "closed"),
    namespaceGlass: fc.array(anyBreakGlass, { minLength: 3, maxLength: 3 }),
    nodeGlass: anyBreakGlass,
  })
  .map(({ pods, labels, networkPolicies, groups, bindings, groupPolicies, namespaceGlass, nodeGlass, ...keys }) => ({
    objects: {
      namespaces: labels.map((own, index) => {
        const name = namespaceNames[index] ?? "";
        const text = namespaceGlass[index] ?? "";
        const annotations = {
          "fairlead.dev/source-guard": guards[index] ?? "",
          ...(text === "" ? {} : { "fairlead.dev/break-glass": text }),
        };
        return { metadata: { name, labels: { ...own, [metadataName]: name }, annotations } };
      }),
      serviceAccounts: namespaceNames.flatMap((namespace) =>
        accountNames.map((name) => ({ metadata: { namespace, name, labels: name === "robot" ? { duty: "a" } : {} } })),
      ),
      networkPolicies: renamed("np", networkPolicies),
      groups: groups.map((group, index) => ({ ...group, metadata: { name: groupNames[index] ?? "" } })),
      bindings: renamed("b", bindings),
      groupPolicies: renamed("sgp", groupPolicies),
    },
    pods: pods.map(podOf),
    nodes,
    nowMs,
    nodeBreakGlass: new Map(nodeGlass === "" ? [] : [["n2", nodeGlass]]),
    ...keys,
  }));

/** Where a packet begins or ends, before there is a world: `index` counts around in whatever it has. */
interface EndSeed {
  at: "pod" | "node" | "outside" | "edge";
  index: number;
  /** Of an edge: before the block, its first, its last, after it. */
  side: number;
}
export interface PacketSeed {
  family: 4 | 6;
  ends: readonly [from: EndSeed, to: EndSeed];
  service:
    | { protocol: number; destinationPort?: number }
    /** A message of the family's ICMP. */
    | { icmp: number }
    /** A port to which the destination, or another pod, has given a name. */
    | { named: number };
}

const anyEnd = (at: fc.Arbitrary<EndSeed["at"]>): fc.Arbitrary<EndSeed> =>
  fc.record({ at, index: fc.nat({ max: 63 }), side: fc.nat({ max: 3 }) });
const anyPodEnd = anyEnd(fc.constant("pod"));
const anyOtherEnd = anyEnd(fc.constantFrom("node", "outside", "edge", "edge", "edge"));
const anyEnds = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(anyPodEnd, anyPodEnd) },
  { weight: 6, arbitrary: fc.tuple(anyPodEnd, anyOtherEnd) },
  { weight: 6, arbitrary: fc.tuple(anyOtherEnd, anyPodEnd) },
  { weight: 1, arbitrary: fc.tuple(anyOtherEnd, anyOtherEnd) },
);
const nearPorts = portNumbers.flatMap((port) => [port - 1, port, port + 1]).filter((port) => port > 0 && port < 65_536);
const anyDestinationPort = fc.constantFrom(...portNumbers, ...portNumbers, ...portNumbers, ...nearPorts);

const anyPacketSeed: fc.Arbitrary<PacketSeed> = fc.record({
  family: fc.constantFrom(4 as const, 6 as const),
  ends: anyEnds,
  service: fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({ protocol: fc.constantFrom(6, 6, 6, 17, 132), destinationPort: anyDestinationPort }),
    },
    { weight: 6, arbitrary: fc.record({ named: fc.nat({ max: 63 }) }) },
    { weight: 7, arbitrary: fc.record({ icmp: fc.nat({ max: 63 }) }) },
    { weight: 1, arbitrary: fc.record({ protocol: fc.constantFrom(47, 0, 255) }) },
  ),
});

/** So many packets that the objects of a world are worth to be made. */
export function anyPackets(count: number): fc.Arbitrary<PacketSeed[]> {
  return fc.array(anyPacketSeed, { minLength: 1, maxLength: count, size: "max" });
}

const outside = {
  4: ["192.0.2.9", "203.0.113.7", "10.4.1.200", "169.254.169.254"],
  6: ["2001:db8::9", "2001:db9::7", "fd00:10:4:1::c8", "fd00:ec2::254"],
};
/** Of IPv6 the first and last messages of neighbour discovery, too, and those before and after them. */
const messages = {
  4: { protocol: 1, of: ["8/0", "3/1", "3/0"] },
  6: {
    protocol: 58,
    of: ["128/0", "3/1", "3/0", "128/0", "3/1", "3/0", "3/1", "3/0", "132/0", "133/0", "135/0", "136/0", "137/0"],
  },
};

/** The packets of `seeds` in `world`; a seed that finds none of what it is aimed at is aimed outside. */
export function packetsIn(world: World, seeds: readonly PacketSeed[]): Packet[] {
  const edges = edgesOf(world);
  return seeds.map(({ family, ends: [from, to], service }) => {
    const end = ({ at, index, side }: EndSeed): Ip => {
      const candidates = {
        pod: world.pods
          .flatMap(({ addresses }) => addresses)
          .filter((address) => address.includes(":") === (family === 6)),
        node: [...world.nodes.values()].flat().filter((address) => address.includes(":") === (family === 6)),
        outside: outside[family].map(ip),
        edge: edges[family].filter((_, nth) => nth % 4 === side),
      }[at];
      return candidates[index % candidates.length] ?? ip(outside[family][0] ?? "");
    };
    const ends = { source: end(from), destination: end(to) };
    if ("protocol" in service) return { ...ends, ...service };
    if ("icmp" in service) {
      const { protocol, of } = messages[family];
      const [type = 0, code = 0] = (of[service.icmp % of.length] ?? "").split("/").map(Number);
      return { ...ends, protocol, icmp: { type, code } };
    }
    const asked = world.pods.find(({ addresses }) => addresses.includes(ends.destination))?.ports ?? [];
    const ports = asked.length > 0 ? asked : namedPorts;
    const { protocol = 6, port = 80 } = ports[service.named % ports.length] ?? {};
    return { ...ends, protocol, destinationPort: port };
  });
}

/** Four addresses for each block of the world: before it, its first and last, after it (or again its own, where nothing is beyond). */
function edgesOf({ objects }: World): Record<4 | 6, Ip[]> {
  const blocks = new Set<string>();
  for (const { spec } of objects.networkPolicies) {
    const rules = [...(spec.ingress ?? []).map(({ from }) => from), ...(spec.egress ?? []).map(({ to }) => to)];
    for (const { ipBlock } of rules.flatMap((peers) => peers ?? [])) {
      if (ipBlock !== undefined) [ipBlock.cidr, ...(ipBlock.except ?? [])].forEach((text) => blocks.add(text));
    }
  }
  for (const { spec } of objects.groups) {
    const peers = [...(spec.ingress ?? []).flatMap(({ from }) => from), ...(spec.egress ?? []).flatMap(({ to }) => to)];
    for (const { cidr, except = [] } of peers) {
      if (cidr !== undefined) [cidr, ...except].forEach((text) => blocks.add(text));
    }
  }
  const edges: Record<4 | 6, Ip[]> = { 4: [], 6: [] };
  for (const range of [...blocks].map(readNetwork)) {
    if (range === undefined) continue;
    const { family, first, last } = range;
    const end = family === 4 ? 2n ** 32n - 1n : 2n ** 128n - 1n;
    const four = [first === 0n ? first : first - 1n, first, last, last === end ? last : last + 1n];
    edges[family].push(...four.map((number) => ipFromNumber(family, number)));
  }
  return edges;
}

// A small cluster for tests of policy: objects as people write them, pods by name, packets as a line of text.

import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { present } from "../src/base/assert.ts";
import {
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../src/kube/policy-objects.ts";
import type { Ip } from "../src/net/ip.ts";
import { parseIp } from "../src/net/ip.ts";
import { type BuiltModel, type ModelOptions, clusterModel } from "../src/policy/build-model.ts";
import { type Judge, createJudge } from "../src/policy/judge.ts";
import type { NamedPort, Packet, PolicyObjects, PolicyPod } from "../src/policy/model.ts";

type Writable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };

/** Reads YAML documents as the API server would send them. Namespaces that are only named come to be, too. */
export function objectsOf(text: string, pods: readonly PolicyPod[] = []): PolicyObjects {
  const objects: Writable<PolicyObjects> = {
    namespaces: [],
    serviceAccounts: [],
    networkPolicies: [],
    groups: [],
    bindings: [],
    groupPolicies: [],
  };
  const readers: Record<string, (raw: unknown) => unknown> = {
    Namespace: (raw) => objects.namespaces.push(namespaces.parse(raw)),
    ServiceAccount: (raw) => objects.serviceAccounts.push(serviceAccounts.parse(raw)),
    NetworkPolicy: (raw) => objects.networkPolicies.push(networkPolicies.parse(raw)),
    SecurityGroup: (raw) => objects.groups.push(securityGroups.parse(raw)),
    SecurityGroupBinding: (raw) => objects.bindings.push(securityGroupBindings.parse(raw)),
    SecurityGroupPolicy: (raw) => objects.groupPolicies.push(securityGroupPolicies.parse(raw)),
  };
  for (const document of parseAllDocuments(text)) {
    const raw: unknown = document.toJS();
    if (raw === null) continue;
    const kind = typeof raw === "object" && "kind" in raw ? String(raw.kind) : "";
    present(readers[kind], `a reader for kind ${kind}`)(raw);
  }
  const known = new Set(objects.namespaces.map(({ metadata }) => metadata.name));
  for (const name of new Set(pods.map(({ namespace }) => namespace))) {
    if (!known.has(name)) objects.namespaces.push({ metadata: { name } });
  }
  return objects;
}

export interface PodInput {
  labels?: Record<string, string>;
  /** Default: "10.0.0.N" and "fd00::N" by the place among the pods. */
  addresses?: string[];
  node?: string;
  serviceAccount?: string;
  /** "http/tcp" to its number, or numbers in several containers. */
  ports?: Record<string, number | number[]>;
}

const protocolNumbers: Record<string, number> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 };

export const address = (text: string): Ip => present(parseIp(text), `an address: ${text}`);

/** The pod "namespace/name", the `place`-th of its cluster. */
export function podOf(title: string, input: PodInput = {}, place = 1): PolicyPod {
  const [namespace = "", name = ""] = title.split("/");
  const { labels = {}, addresses = [`10.0.0.${place}`, `fd00::${place}`], node = "n1" } = input;
  const ports = Object.entries(input.ports ?? {}).flatMap(([key, numbers]): NamedPort[] => {
    const [name = "", protocol = "tcp"] = key.split("/");
    return [numbers].flat().map((port) => ({ name, protocol: present(protocolNumbers[protocol], protocol), port }));
  });
  const serviceAccount = input.serviceAccount ?? "default";
  return { namespace, name, uid: title, labels, serviceAccount, node, addresses: addresses.map(address), ports };
}

export interface PolicyWorld {
  pods: readonly PolicyPod[];
  objects: PolicyObjects;
  model: BuiltModel;
  judge: Judge;
  /** "shop/web > shop/db tcp 5432"; ends are pods (their IPv6 address as "shop/web@6") or addresses. */
  packet(line: string): Packet;
  passes(line: string): boolean;
}

export interface WorldInput {
  pods?: Record<string, PodInput>;
  objects?: string;
  /** Default: n1 and n2. */
  nodes?: Record<string, string[]>;
  options?: ModelOptions;
}

export function policyWorld({ pods: podInputs = {}, objects: text = "", nodes, options }: WorldInput): PolicyWorld {
  const pods = Object.entries(podInputs).map(([title, input], index) => podOf(title, input, index + 1));
  const objects = objectsOf(text, pods);
  const nodeInputs = nodes ?? { n1: ["192.168.0.1", "fd01::1"], n2: ["192.168.0.2", "fd01::2"] };
  const nodeAddresses = new Map(Object.entries(nodeInputs).map(([name, texts]) => [name, texts.map(address)]));
  const model = clusterModel(objects, pods, nodeAddresses, options);
  const judge = createJudge(model);
  const end = (text: string): Ip => {
    const [title = "", family = "4"] = text.split("@");
    const pod = pods.find(({ namespace, name }) => `${namespace}/${name}` === title);
    if (pod === undefined) return address(text);
    return present(
      pod.addresses.find((address) => address.includes(":") === (family === "6")),
      `an address of ${text}`,
    );
  };
  const packet = (line: string): Packet => packetOf(line, end);
  return { pods, objects, model, judge, packet, passes: (line) => judge.verdict(packet(line)).passes };
}

/** "SOURCE > DESTINATION tcp 80", "… icmp 8 0", "… 47". */
function packetOf(line: string, end: (text: string) => Ip): Packet {
  const [source = "", , destination = "", protocolText = "", first, second = "0"] = line.split(/\s+/);
  const protocol = protocolNumbers[protocolText] ?? Number(protocolText);
  const ends = { source: end(source), destination: end(destination), protocol };
  if (first === undefined) return ends;
  if (protocol === 1 || protocol === 58) return { ...ends, icmp: { type: Number(first), code: Number(second) } };
  return { ...ends, destinationPort: Number(first) };
}

/** Holds each line against the judge's word: "yes" or "no", then the packet. */
export function assertPasses(world: PolicyWorld, lines: string): void {
  for (const line of lines.trim().split("\n")) {
    const [, word, packet = ""] = /^\s*(yes|no)\s+(.*)$/.exec(line) ?? [];
    assert.ok(word !== undefined, `a line that begins with yes or no: ${line}`);
    assert.equal(world.passes(packet) ? "yes" : "no", word, packet);
  }
}

/** For objects in which nothing is wrong. */
export function assertWorld(input: WorldInput, lines: string): PolicyWorld {
  const world = policyWorld(input);
  assert.deepEqual(world.model.problems, []);
  assertPasses(world, lines);
  return world;
}

/** A NetworkPolicy of namespace shop for all of its pods, with this spec besides. */
export function shopPolicy(spec: string, name = "p"): string {
  return `---\nkind: NetworkPolicy\nmetadata: { namespace: shop, name: ${name} }\nspec:\n  podSelector: {}\n${spec.replace(/^/gm, "  ")}\n`;
}

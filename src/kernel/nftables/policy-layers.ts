// Layers and classes of a policy ruleset as chains, maps and counters. Returning from a layer means that it allows; each lookup counts.

import { hash } from "node:crypto";
import type { Cidr } from "../../net/cidr.ts";
import { ipFamily } from "../../net/ip.ts";
import { uniqueElements } from "../../policy/compile-sets.ts";
import { layerCounter } from "../../policy/counters.ts";
import type { Direction } from "../../policy/model.ts";
import type { BlockSet, LayerChains, MemberElement, MemberSet, PeerTest, RestRule } from "../../policy/ruleset.ts";
import type { FieldName, KeyValues } from "./fields.ts";
import { audit, deny } from "./policy-base.ts";
import type { Chain, ConstantNamedSet, FilledSet, Rule, Statement, Verdict, VerdictMap } from "./ruleset.ts";

const allowed: Verdict = { verdict: "return" };

/**
 * The only network of a set of blocks, by its name; undefined for any other set. It is compared by the rule itself: the kernel goes
 * through all sets of a table to find one by its name, each time that it is named.
 */
export type SoleNetwork = (set: string) => Cidr | undefined;

export interface LayerParts {
  counter: string;
  map: VerdictMap | undefined;
  chains: readonly Chain[];
}

/** The first chain has the layer's name: what is led there is judged by it. The rest has the name and a dot: so nothing collides. */
export function layerParts(
  { name, direction, otherwise, ports, peerLists, rest }: LayerChains,
  soleNetwork: SoleNetwork = () => undefined,
): LayerParts {
  const counter = layerCounter({ name, otherwise });
  const ending: Rule[] = [
    ...rest.map((rule) => restRule(rule, direction, soleNetwork)),
    [{ count: counter }, { goto: otherwise === "deny" ? deny : audit }],
  ];
  if (ports.length === 0) return { counter, map: undefined, chains: [{ name, rules: ending }] };
  const [rests, listed] = [`${name}.rest`, (index: number): string => `${name}.${index}`];
  const map: VerdictMap = {
    name: `${name}.ports`,
    key: ["meta l4proto", "th dport"],
    constant: true,
    counted: true,
    verdicts: ports.map(({ protocol, port, peers }) => [
      [protocol, port],
      peers === "any" ? allowed : { goto: listed(peers) },
    ]),
  };
  const lists = peerLists.map((tests, index) => ({
    name: listed(index),
    rules: [
      ...tests.map((test): Rule => [peerTest(test, direction, soleNetwork), { tally: true }, allowed]),
      [{ goto: rests }],
    ],
  }));
  const first: Chain = { name, rules: [[{ match: map.key, byMap: map.name }], [{ goto: rests }]] };
  return { counter, map, chains: [first, ...lists, { name: rests, rules: ending }] };
}

/** What is done with a packet of a class that is judged by these layers, one after the other. */
export function classVerdict(layers: readonly string[]): Verdict {
  const [first, second] = layers;
  if (first === undefined) return allowed;
  return { goto: second === undefined ? first : classChainName(layers) };
}

/** The chain that asks several layers; undefined where none is needed. */
export function classChain(layers: readonly string[]): Chain | undefined {
  if (layers.length < 2) return undefined;
  return { name: classChainName(layers), rules: inTurn(layers) };
}

/** Judges by one chain and by another: what passes both. */
export function bothChain(one: string, other: string): Chain {
  return { name: `both.${hashed([one, other])}`, rules: inTurn([one, other]) };
}

function inTurn(chains: readonly string[]): Rule[] {
  return chains.map((chain, index) => [index === chains.length - 1 ? { goto: chain } : { jump: chain }]);
}

function classChainName(layers: readonly string[]): string {
  return `class.${hashed(layers)}`;
}

/** Digits of a name that tells of its content. */
const hashLen = 16;

function hashed(names: readonly string[]): string {
  return hash("sha256", names.join(" ")).slice(0, hashLen);
}

/** Sets of sources and of destinations are the same: the bytes of an address. */
export function memberSet({ name, family, portName, parts }: MemberSet): FilledSet {
  const address = addressField(family);
  const key = portName === undefined ? [address] : [address, ...portFields];
  return { name, key, elements: uniqueElements(parts).map(memberValues) };
}

const addressField = (family: 4 | 6): FieldName => (family === 4 ? "ip saddr" : "ip6 saddr");
const portFields: readonly FieldName[] = ["meta l4proto", "th dport"];

/** The fields of an element's key. */
export function memberKey({ address, port }: MemberElement): FieldName[] {
  const field = addressField(ipFamily(address));
  return port === undefined ? [field] : [field, ...portFields];
}

export function memberValues({ address, protocol = 0, port }: MemberElement): KeyValues {
  return port === undefined ? [address] : [address, protocol, port];
}

export function blockSet({ name, family, blocks }: BlockSet): ConstantNamedSet {
  return { name, key: addressField(family), oneOf: blocks };
}

function peerTest({ family, set, withPort }: PeerTest, direction: Direction, soleNetwork: SoleNetwork): Statement {
  const end = direction === "egress" ? "daddr" : "saddr";
  const address: FieldName = family === 4 ? `ip ${end}` : `ip6 ${end}`;
  const within = soleNetwork(set);
  if (within !== undefined) return { match: address, within };
  return { match: withPort === true ? [address, ...portFields] : [address], inSet: set };
}

function restRule({ protocol, ports, icmp, peer }: RestRule, direction: Direction, soleNetwork: SoleNetwork): Rule {
  const statements: Statement[] = [];
  if (icmp !== undefined) statements.push({ icmp: protocol === 1 ? 4 : 6, ...icmp });
  else if (protocol !== undefined) statements.push({ match: "meta l4proto", is: protocol });
  if (ports !== undefined) {
    const { first, last } = ports;
    statements.push(first === last ? { match: "th dport", is: first } : { match: "th dport", from: first, to: last });
  }
  if (peer !== undefined) statements.push(peerTest(peer, direction, soleNetwork));
  return [...statements, { tally: true }, allowed];
}

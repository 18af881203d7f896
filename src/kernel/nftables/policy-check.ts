// What a policy ruleset must be before anything is made of it: within its limits, its names names, and all that it refers to there.

import { assert, present } from "../../base/assert.ts";
import type { LayerChains, PeerTest, PolicyRuleset } from "../../policy/ruleset.ts";
import { addressesOf } from "../../policy/compile-sets.ts";
import { classNumbers, policyLimits } from "../contract.ts";
import { baseChains, classMaps, inputChains, logSharesName, metadataChains, selfSetName } from "./policy-base.ts";

/** Names of layers and sets; what is made of them has a dot. */
const namePattern = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const takenChains = new Set([...baseChains, ...inputChains, ...metadataChains].map(({ name }) => name));
const takenSets = new Set<string>([selfSetName, logSharesName, ...Object.values(classMaps)]);

/** Whether links of that group are judged. */
export const isClass = (group: number): boolean => group >= classNumbers.first && group <= classNumbers.last;

/** @throws Fault "bug" that says what is wrong: rulesets come from our own compiler */
export function mustBeSound(ruleset: PolicyRuleset): void {
  const { classes, layers, memberSets, blockSets } = ruleset;
  mustFit(ruleset);
  for (const [group, { egress, ingress, toNode }] of classes) {
    const asked = [...egress, ...ingress, ...toNode];
    assert(isClass(group) || asked.length === 0, `class ${group} is outside of what is judged`);
    for (const name of asked) assert(layers.has(name), `class ${group} is judged by ${name}, which is no layer`);
  }
  for (const name of [...memberSets.keys(), ...blockSets.keys()]) mustBeName(name, takenSets);
  for (const name of blockSets.keys()) assert(!memberSets.has(name), `the set ${name} is of members or of networks`);
  for (const [name, layer] of layers) {
    mustBeName(name, takenChains);
    mustBeSoundLayer(layer, ruleset);
  }
}

/** Layers whose own parts have been looked at: most are the same objects as before. */
const sound = new WeakSet<LayerChains>();

function mustBeSoundLayer(layer: LayerChains, ruleset: PolicyRuleset): void {
  const { name, peerLists, rest } = layer;
  if (!sound.has(layer)) mustBeSoundAlone(layer);
  sound.add(layer);
  for (const test of peerLists.flat()) mustBePeer(name, test, ruleset);
  for (const { peer } of rest) if (peer !== undefined) mustBePeer(name, peer, ruleset);
}

function mustBeSoundAlone({ name, ports, peerLists, rest }: LayerChains): void {
  const keys = new Set(ports.map(({ protocol, port }) => `${protocol} ${port}`));
  assert(keys.size === ports.length, `the layer ${name} has each port once`);
  for (const { peers } of ports) {
    assert(peers === "any" || peerLists[peers] !== undefined, `the layer ${name} has a list of peers ${peers}`);
  }
  for (const { protocol, ports: range, icmp } of rest) {
    assert(icmp === undefined || protocol === 1 || protocol === 58, `a rule of ${name} on ICMP is of protocol 1 or 58`);
    assert(range === undefined || protocol !== undefined, `a rule of ${name} on ports has a protocol`);
  }
}

function mustBePeer(
  layer: string,
  { family, set, withPort }: PeerTest,
  { memberSets, blockSets }: PolicyRuleset,
): void {
  const [members, blocks] = [memberSets.get(set), blockSets.get(set)];
  const found = present(members ?? blocks, `the set ${set} that the layer ${layer} asks`);
  assert(found.family === family, `the set ${set} that the layer ${layer} asks is of IPv${family}`);
  const hasPorts = members?.portName !== undefined;
  assert(hasPorts === (withPort === true), `the layer ${layer} asks ${set} for ports where it has some`);
}

function mustBeName(name: string, taken: ReadonlySet<string>): void {
  assert(
    namePattern.test(name) && !taken.has(name),
    `"${name}" is a name for a chain or set: letters, digits, "_" and "-", at most 64, and none of the table's own`,
  );
}

function mustFit({ classes, layers, memberSets, blockSets, links }: PolicyRuleset): void {
  const sum = (counts: number[]): number => counts.reduce((all, count) => all + count, 0);
  const all = [...layers.values()];
  const counts: Record<keyof typeof policyLimits, number> = {
    classes: classes.size,
    links: links.size,
    ports: sum(all.map(({ ports }) => ports.length)),
    rules: sum(all.map(({ rest, peerLists }) => rest.length + peerLists.length + peerLists.flat().length)),
    addresses: sum([
      ...[...memberSets.values()].map(addressesOf),
      ...[...blockSets.values()].map(({ blocks }) => blocks.length),
    ]),
  };
  for (const [what, max] of Object.entries(policyLimits)) {
    const count = new Map(Object.entries(counts)).get(what) ?? 0;
    assert(count <= max, `a policy ruleset has at most ${max} ${what}, not ${count}`);
  }
}

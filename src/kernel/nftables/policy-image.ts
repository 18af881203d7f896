// A policy ruleset as it should be in the kernel: each counter, set, map and chain with the messages that make it and the mark by which it is known.

import { assert } from "../../base/assert.ts";
import { baseCounters, metadataCounter } from "../../policy/counters.ts";
import type { BlockSet, LayerChains, MemberElement, MemberSet, PolicyRuleset } from "../../policy/ruleset.ts";
import { policyLimits } from "../contract.ts";
import type { Request } from "../netlink/message.ts";
import { userDataType } from "./constants.ts";
import { type Element, textOfKey, type Elements, joinElements, ofSet } from "./elements.ts";
import type { SetIds } from "./expressions.ts";
import { type KeyValues, constantElements, fields, keyBytes, keyLength } from "./fields.ts";
import { newCounter, newTable, userDataEntry } from "./messages.ts";
import {
  type ClassMap,
  baseChains,
  classMap,
  inputChains,
  metadataChains,
  policyComment,
  policyTableName,
  logShares,
  selfSet,
} from "./policy-base.ts";
import { isClass, mustBeSound } from "./policy-check.ts";
import {
  blockSet,
  classChain,
  classVerdict,
  layerParts,
  memberKey,
  memberSet,
  memberValues,
  type SoleNetwork,
} from "./policy-layers.ts";
import type { Chain, ConstantNamedSet, FilledSet, NamedSet, Table, VerdictMap } from "./ruleset.ts";
import { newConstantSet, newSet, newVerdictMap, verdictMessages } from "./set-messages.ts";
import { type ChainImage, chainImage, tagOf } from "./table-image.ts";

export interface SetImage {
  name: string;
  /** Of what makes it: nobody can change that of a set that is there. */
  tag: string;
  keyLen: number;
  make: readonly Request[];
  /** What it holds, where that can change; a constant one is filled by `make`, or by `fill`, which names chains. */
  elements?: Elements;
  fill: readonly Request[];
  /** Of intervals: the kernel needs a moment before it finds anything in it (see ConstantNamedSet). */
  late: boolean;
}

export interface PolicyImage {
  /** Of what belongs to the table itself. */
  tag: string;
  table: Request;
  counters: ReadonlyMap<string, Request>;
  sets: ReadonlyMap<string, SetImage>;
  chains: ReadonlyMap<string, ChainImage>;
}

const table = policyTableName;

/** Sets are found by their names: so a chain has the same messages whatever else is in its batch. */
function ids(first: number): SetIds {
  let last = first;
  return { of: () => undefined, next: () => (last += 1) };
}

/** Numbers for anonymous sets, which only these chains have: each its own, since they can come in one batch. */
const fixedIds = ids(0);
const imagesOf = (chains: readonly Chain[]): ChainImage[] => chains.map((chain) => chainImage(table, chain, fixedIds));
const [baseImages, inputImages] = [imagesOf(baseChains), imagesOf(inputChains)];
const metadataImages = imagesOf(metadataChains);

/** The chains that are always there. */
export const baseChainNames: readonly string[] = baseChains.map(({ name }) => name);

const comment = userDataEntry(userDataType.tableComment, Buffer.from(`${policyComment}\0`));
const tableTag = tagOf([newTable(table, comment)]);
const tableMessage = newTable(table, Buffer.concat([comment, userDataEntry(userDataType.ourTag, tableTag)]));

interface LayerImage {
  counter: string;
  map: SetImage | undefined;
  chains: ChainImage[];
}

/** The ruleset that judges nobody. */
export const noPolicy: PolicyRuleset = {
  classes: new Map(),
  layers: new Map(),
  memberSets: new Map(),
  blockSets: new Map(),
  links: new Set(),
};

/** Images of parts that are the same object as before: most are, when something changes. */
const layerImages = new WeakMap<LayerChains, LayerImage>();
const setImages = new WeakMap<MemberSet | BlockSet, SetImage>();

/** Of chains that ask several layers, by their names, which tell of all that they are. */
const classImages = new Map<string, ChainImage>();
const classImagesMax = 3 * policyLimits.classes;

/** @throws Fault "bug" for a ruleset that is beyond `policyLimits`, or names what is not in it */
export function policyImage(ruleset: PolicyRuleset): PolicyImage {
  const { classes, layers, memberSets, blockSets, links } = ruleset;
  mustBeSound(ruleset);
  const isClosed = ruleset.metadata === "closed";
  const soleNetwork = soleNetworkOf(blockSets);
  const judging = [...layers.values()].map((layer) => layerImage(layer, soleNetwork));
  const maps = classMapsOf(classes);
  const sets = [
    ...[...blockSets.values()]
      .filter(({ name }) => soleNetwork(name) === undefined)
      .map((set) => remembered(setImages, set, () => blockImage(blockSet(set)))),
    ...[...memberSets.values()].map((set) => remembered(setImages, set, () => membersImage(set))),
    liveImage(selfSet(links)),
    liveImage({ ...logShares, elements: [] }),
    ...judging.flatMap(({ map }) => map ?? []),
    ...maps.map((of) => classMapImage(of, classes)),
  ];
  const chains = [
    ...baseImages,
    ...(maps.includes("toNode") ? inputImages : []),
    ...(isClosed ? metadataImages : []),
    ...judging.flatMap((layer) => layer.chains),
    ...classChains(classes).map(classChainImage),
  ];
  const counters = countersOf(isClosed, judging);
  return {
    tag: hex(tableTag),
    table: tableMessage,
    counters: named(
      "counter",
      counters.map((name) => [name, newCounter(table, name)]),
    ),
    sets: named(
      "set",
      sets.map((set) => [set.name, set]),
    ),
    chains: named(
      "chain",
      chains.map((chain) => [chain.shape.name, chain]),
    ),
  };
}

/** The same as a table of text. */
export function policyTable({ classes, layers, memberSets, blockSets, links, metadata }: PolicyRuleset): Table {
  const soleNetwork = soleNetworkOf(blockSets);
  const judging = [...layers.values()].map((layer) => layerParts(layer, soleNetwork));
  const maps = classMapsOf(classes);
  return {
    name: table,
    comment: policyComment,
    counters: countersOf(metadata === "closed", judging),
    sets: [selfSet(links), logShares, ...[...memberSets.values()].map(memberSet)],
    constants: [...blockSets.values()].filter(({ name }) => soleNetwork(name) === undefined).map(blockSet),
    maps: [...maps.map((of) => classMapOf(of, classes)), ...judging.flatMap(({ map }) => map ?? [])],
    chains: [
      ...baseChains,
      ...(maps.includes("toNode") ? inputChains : []),
      ...(metadata === "closed" ? metadataChains : []),
      ...judging.flatMap(({ chains }) => chains),
      ...classChains(classes),
    ],
  };
}

/** Block sets are named after their content: what is remembered of a layer is right whichever ruleset it stands in. */
function soleNetworkOf(blockSets: PolicyRuleset["blockSets"]): SoleNetwork {
  return (name) => {
    const [first, ...others] = blockSets.get(name)?.blocks ?? [];
    return others.length === 0 ? first : undefined;
  };
}

function countersOf(isClosed: boolean, judging: readonly { counter: string }[]): string[] {
  return [...baseCounters, ...(isClosed ? [metadataCounter] : []), ...judging.map(({ counter }) => counter)];
}

function layerImage(layer: LayerChains, soleNetwork: SoleNetwork): LayerImage {
  return remembered(layerImages, layer, () => {
    const { counter, map, chains } = layerParts(layer, soleNetwork);
    return { counter, map: map && portMapImage(map), chains: chains.map((chain) => chainImage(table, chain, ids(0))) };
  });
}

function classChainImage(chain: Chain): ChainImage {
  const known = classImages.get(chain.name);
  if (known !== undefined) return known;
  if (classImages.size >= classImagesMax) classImages.clear();
  const image = chainImage(table, chain, ids(0));
  classImages.set(chain.name, image);
  return image;
}

function portMapImage(map: VerdictMap): SetImage {
  const fill = verdictMessages(
    table,
    map.name,
    map.verdicts.map(([values, verdict]) => ({ key: keyBytes(map.key, values), verdict })),
  );
  const tag = tagOf([newVerdictMap(table, map, 0), ...fill]);
  return {
    name: map.name,
    tag: hex(tag),
    keyLen: keyLength(map.key),
    make: [newVerdictMap(table, map, 0, tag)],
    fill,
    late: false,
  };
}

function classMapImage(of: ClassMap, classes: PolicyRuleset["classes"]): SetImage {
  const map = classMapOf(of, classes);
  const tag = tagOf([newVerdictMap(table, map, 0)]);
  const make = [newVerdictMap(table, map, 0, tag)];
  return {
    name: map.name,
    tag: hex(tag),
    keyLen: keyLength(map.key),
    make,
    elements: keyedVerdicts(map),
    fill: [],
    late: false,
  };
}

function liveImage(set: FilledSet, elements: Elements = setElements(set.key, set.elements)): SetImage {
  const tag = tagOf([newSet(table, set, 0)]);
  return {
    name: set.name,
    tag: hex(tag),
    keyLen: keyLength(set.key),
    make: [newSet(table, set, 0, tag)],
    elements,
    fill: [],
    late: false,
  };
}

function membersImage(set: MemberSet): SetImage {
  const parts = set.parts.map((part) => remembered(partElements, part, () => new Map(part.map(memberElement))));
  return liveImage(memberSet({ ...set, parts: [] }), joinElements(parts));
}

/** Parts of members that are the same as before, whatever has become of the others. */
const partElements = new WeakMap<readonly MemberElement[], ReadonlyMap<string, Element>>();

function memberElement(member: MemberElement): [string, Element] {
  const key = keyBytes(memberKey(member), memberValues(member));
  return [textOfKey(key), ofSet];
}

function blockImage({ name, key, oneOf }: ConstantNamedSet): SetImage {
  const field = fields[key];
  const { interval, elements } = constantElements(field, oneOf);
  const set = { id: 0, name, field, interval, elements };
  const tag = tagOf(newConstantSet(table, set));
  return { name, tag: hex(tag), keyLen: keyLength([key]), make: newConstantSet(table, set, tag), fill: [], late: true };
}

const hex = (tag: Buffer): string => tag.toString("hex");

/** What the elements of a set of these fields are. */
export function setElements(key: NamedSet["key"], elements: readonly KeyValues[]): Map<string, Element> {
  return new Map(elements.map((values) => [textOfKey(keyBytes(key, values)), ofSet]));
}

function keyedVerdicts({ key, verdicts }: VerdictMap): Map<string, Required<Element>> {
  return new Map(verdicts.map(([values, verdict]) => [textOfKey(keyBytes(key, values)), { verdict }]));
}

function classMapOf(of: ClassMap, classes: PolicyRuleset["classes"]): VerdictMap {
  return classMap(
    of,
    [...classes].filter(([group]) => isClass(group)).map(([group, layers]) => [[group], classVerdict(layers[of])]),
  );
}

/** Of the classes that ask more than one layer; equal ones share a chain. */
function classChains(classes: PolicyRuleset["classes"]): Chain[] {
  const chains = [...classes.values()]
    .flatMap(({ egress, ingress, toNode }) => [egress, ingress, toNode])
    .flatMap((layers) => classChain(layers) ?? []);
  return [...new Map(chains.map((chain) => [chain.name, chain])).values()];
}

function classMapsOf(classes: PolicyRuleset["classes"]): ClassMap[] {
  const judgesNode = [...classes.values()].some(({ toNode }) => toNode.length > 0);
  return judgesNode ? ["egress", "ingress", "toNode"] : ["egress", "ingress"];
}

function remembered<Part extends object, Image>(images: WeakMap<Part, Image>, part: Part, make: () => Image): Image {
  const known = images.get(part);
  if (known !== undefined) return known;
  const made = make();
  images.set(part, made);
  return made;
}

/** By name; two of one name would be one in the kernel. */
function named<T>(what: string, parts: readonly (readonly [name: string, part: T])[]): Map<string, T> {
  const map = new Map(parts);
  assert(map.size === parts.length, `each ${what} of a policy ruleset has a name of its own`);
  return map;
}

// The pods of a node and their layers to what its kernel is to hold. What did not change since the last time is not made again.

import { assert, present } from "../base/assert.ts";
import { sameItems } from "../base/same-items.ts";
import { createTally, type Limits, rulesOf } from "./compile-fit.ts";
import { type CompiledLayer, compileLayer } from "./compile-layer.ts";
import { saysTheSame } from "./compile-same.ts";
import { addressesOf, elementsOf, type MemberSetKind } from "./compile-sets.ts";
import type { PolicyKeys } from "./keys.ts";
import { policyLimits } from "./limits.ts";
import type { Layer, Member, MemberParts, Memberships, Subject } from "./model.ts";
import type { BlockSet, LayerChains, MemberElement, MemberSet, PolicyClass, PolicyRuleset } from "./ruleset.ts";

export interface Classed {
  subject: Pick<Subject, "egress" | "ingress">;
  classNumber: number;
}

export interface CompileInput {
  /** The pods with a link on this node, and the class that each link carries or is to carry (`createClasses`). */
  subjects: Iterable<Classed>;
  memberships: Memberships;
  /** As the ruleset has them. */
  links: ReadonlySet<string>;
  /** Egress groups judge what a pod sends to its own node, too. */
  groupsJudgeOwnNode: boolean;
  /** As in the model; absent: open. */
  metadata?: PolicyKeys["metadata"];
}

export interface Compiler {
  /** Nothing is done but to make the ruleset; subjects of one class must have equal layers. */
  compile: (input: CompileInput) => PolicyRuleset;
  /** What is to be known of a layer beside the ruleset. */
  factsOf: (layer: Layer) => LayerFacts;
}

export interface LayerFacts {
  /** Its name in the ruleset, for those who meet it in logs and counters: it tells of its objects and of what they say. */
  name: string;
  /** Ports, ranges and messages of its rules that allow nothing, since the layer is too large, or the ruleset: for people to be told. */
  leftOut: number;
}

/**
 * Gives a compiler. What it made of a layer it keeps until an input is without it: a layer of the same id that says the same is not
 * compiled again. So it does with what it made of each part of a membership, and the same parts are the same set. Nothing that was handed
 * in may be changed afterwards.
 *
 * A ruleset is never larger than `limits`: of the largest layers nothing is left then but how they end.
 */
export function createCompiler(limits: Limits = policyLimits): Compiler {
  let known = new Map<string, Made>();
  let knownSets = new Map<string, MadeSet>();

  const madeOf = (layer: Layer): Made => {
    const before = known.get(keyOf(layer));
    if (before !== undefined && saysTheSame(before.layer, layer)) return { ...before, layer };
    return { layer, whole: compileLayer(layer), isShut: false };
  };
  const compile = (input: CompileInput): PolicyRuleset => {
    const { subjects, memberships, links, groupsJudgeOwnNode, metadata = "open" } = input;
    const pods = [...subjects];
    const made = new Map<Layer, Made>();
    for (const layer of pods.flatMap(({ subject }) => [...subject.egress, ...subject.ingress])) {
      if (!made.has(layer)) made.set(layer, madeOf(layer));
    }
    const madeSets = new Map<string, MadeSet>();
    const memberSetOf = (kind: MemberSetKind): MemberSet => {
      const { name, membership } = kind;
      const one = madeSets.get(name) ?? makeSet(kind, memberships.get(membership) ?? nobody, knownSets.get(name));
      madeSets.set(name, one);
      return one.set;
    };
    const setsOf = ({ memberSets, blockSets }: CompiledLayer): Sets => ({
      members: memberSets.map(memberSetOf),
      blocks: blockSets,
    });
    const tally = createTally(limits);
    for (const one of smallestFirst(made.values())) {
      const { members: lists, blocks } = setsOf(one.whole);
      one.isShut = !tally.fits(one.whole.chains, [
        ...lists.map((set) => ({ name: set.name, addresses: addressesOf(set) })),
        ...blocks.map((set) => ({ name: set.name, addresses: set.blocks.length })),
      ]);
    }
    known = new Map([...made].map(([layer, one]) => [keyOf(layer), one]));

    const layers = new Map<string, LayerChains>();
    const memberSets = new Map<string, MemberSet>();
    const blockSets = new Map<string, BlockSet>();
    for (const one of made.values()) {
      const compiled = compiledOf(one);
      layers.set(compiled.chains.name, compiled.chains);
      const sets = setsOf(compiled);
      for (const set of sets.members) memberSets.set(set.name, set);
      for (const set of sets.blocks) blockSets.set(set.name, set);
    }
    knownSets = madeSets;
    const nameOf = (layer: Layer): string => compiledOf(present(made.get(layer), layer.id)).chains.name;
    const classes = classesOf(pods, nameOf, groupsJudgeOwnNode);
    return { classes, layers, memberSets, blockSets, links, metadata };
  };
  const factsOf = (layer: Layer): LayerFacts => {
    const { chains, leftOut } = compiledOf(madeOf(layer));
    return { name: chains.name, leftOut };
  };
  return { compile, factsOf };
}

/** A layer and what it became. */
interface Made {
  layer: Layer;
  whole: CompiledLayer;
  /** The last ruleset had no room for it. */
  isShut: boolean;
}

/** A set of members, and of each part of the membership what stands in it. */
interface MadeSet {
  set: MemberSet;
  elements: ReadonlyMap<readonly Member[], readonly MemberElement[]>;
}

/** `before`: what the last ruleset had of it. */
function makeSet(kind: MemberSetKind, members: MemberParts, before: MadeSet | undefined): MadeSet {
  const elements = new Map(members.map((part) => [part, before?.elements.get(part) ?? elementsOf(kind, part)]));
  const parts = [...elements.values()].filter((part) => part.length > 0);
  const isSame = before !== undefined && sameItems(before.set.parts, parts);
  return { set: isSame ? before.set : { ...kind, parts }, elements };
}

interface Sets {
  members: readonly MemberSet[];
  blocks: readonly BlockSet[];
}

/** What stands in the ruleset. */
function compiledOf({ layer, whole, isShut }: Made): CompiledLayer {
  return isShut ? { ...compileLayer({ ...layer, rules: [] }), leftOut: whole.matches } : whole;
}

/** So that a ruleset that is too large is so at the cost of those who make it so. */
function smallestFirst(made: Iterable<Made>): Made[] {
  const size = ({ whole: { chains } }: Made): number => chains.ports.length + rulesOf(chains);
  const byName = (a: Made, b: Made): number => (a.whole.chains.name < b.whole.chains.name ? -1 : 1);
  return [...made].toSorted((a, b) => size(a) - size(b) || byName(a, b));
}

function classesOf(
  pods: readonly Classed[],
  nameOf: (layer: Layer) => string,
  groupsJudgeOwnNode: boolean,
): Map<number, PolicyClass> {
  const classes = new Map<number, PolicyClass>();
  for (const { subject, classNumber } of pods) {
    const egress = subject.egress.map(nameOf);
    const groups = subject.egress.filter(({ kind }) => kind === "groups");
    const made = { egress, ingress: subject.ingress.map(nameOf), toNode: groupsJudgeOwnNode ? groups.map(nameOf) : [] };
    const known = classes.get(classNumber) ?? made;
    assert(JSON.stringify(known) === JSON.stringify(made), `pods of class ${classNumber} have equal layers`);
    classes.set(classNumber, known);
  }
  return classes;
}

function keyOf({ kind, direction, id }: Layer): string {
  return `${kind} ${direction} ${id}`;
}

/** Of a membership that nobody has told of yet. */
const nobody: MemberParts = [];

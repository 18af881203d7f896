// The pods of a node and their layers to what its kernel is to hold. What did not change since the last time is not made again.

import { assert } from "../base/assert.ts";
import { type CompiledLayer, compileLayer } from "./compile-layer.ts";
import { saysTheSame } from "./compile-same.ts";
import { elementsOf, type MemberSetKind } from "./compile-sets.ts";
import type { Layer, Member, Memberships, Subject } from "./model.ts";
import type { BlockSet, LayerChains, MemberElement, MemberSet, PolicyClass, PolicyRuleset } from "./ruleset.ts";

export interface CompileInput {
  /** The pods with a link on this node, and the class that each link carries or is to carry (`createClasses`). */
  subjects: Iterable<{ subject: Pick<Subject, "egress" | "ingress">; classNumber: number }>;
  memberships: Memberships;
  /** Host links of pods. */
  links: ReadonlySet<string>;
  /** Egress groups judge what a pod sends to its own node, too. */
  groupsJudgeOwnNode: boolean;
}

export interface Compiler {
  /** Nothing is done but to make the ruleset; subjects of one class must have equal layers. */
  compile: (input: CompileInput) => PolicyRuleset;
  /** What is to be known of a layer beside the ruleset. */
  factsOf: (layer: Layer) => LayerFacts;
}

export interface LayerFacts {
  /** Its name in the ruleset, for those who meet it in logs and counters. Layers that become the same have one name. */
  name: string;
  /** Ports, ranges and messages that the layer's rules name and that allow nothing, since it is too large (`layerLookupsMax`): for people to be told. */
  leftOut: number;
}

/**
 * Gives a compiler. What it made of a layer it keeps until an input is without it: a layer of the same id that says the same is not
 * compiled again. Elements it keeps as long as the list of members lives: the same list has the same elements. Nothing that was handed
 * in may be changed afterwards.
 */
export function createCompiler(): Compiler {
  let known = new Map<string, Made>();
  const members = new WeakMap<readonly Member[], Map<string, readonly MemberElement[]>>();

  const madeOf = (layer: Layer): Made => {
    const before = known.get(keyOf(layer));
    const compiled = before !== undefined && saysTheSame(before.layer, layer) ? before.compiled : compileLayer(layer);
    return { layer, compiled };
  };
  const memberSet = (kind: MemberSetKind, list: readonly Member[]): MemberSet => {
    const known = members.get(list) ?? new Map<string, readonly MemberElement[]>();
    members.set(list, known);
    const elements = known.get(kind.name) ?? elementsOf(kind, list);
    known.set(kind.name, elements);
    return { ...kind, elements };
  };

  const compile = ({ subjects, memberships, links, groupsJudgeOwnNode }: CompileInput): PolicyRuleset => {
    const classes = new Map<number, PolicyClass>();
    const used = new Map<string, Made>();
    const layers = new Map<string, CompiledLayer>();
    const names = (list: readonly Layer[]): string[] =>
      list.map((layer) => {
        const before = used.get(keyOf(layer));
        const made = before?.layer === layer ? before : madeOf(layer);
        used.set(keyOf(layer), made);
        layers.set(made.compiled.chains.name, made.compiled);
        return made.compiled.chains.name;
      });
    for (const { subject, classNumber } of subjects) {
      const { egress, ingress } = subject;
      const toNode = groupsJudgeOwnNode ? egress.filter(({ kind }) => kind === "groups") : [];
      const made = { egress: names(egress), ingress: names(ingress), toNode: names(toNode) };
      const known = classes.get(classNumber) ?? made;
      assert(JSON.stringify(known) === JSON.stringify(made), `pods of class ${classNumber} have equal layers`);
      classes.set(classNumber, known);
    }
    const chains = new Map<string, LayerChains>();
    const memberSets = new Map<string, MemberSet>();
    const blockSets = new Map<string, BlockSet>();
    known = used;
    for (const [name, compiled] of layers) {
      chains.set(name, compiled.chains);
      for (const set of compiled.blockSets) blockSets.set(set.name, set);
      for (const kind of compiled.memberSets) {
        if (!memberSets.has(kind.name))
          memberSets.set(kind.name, memberSet(kind, memberships.get(kind.membership) ?? nobody));
      }
    }
    return { classes, layers: chains, memberSets, blockSets, links };
  };
  const factsOf = (layer: Layer): LayerFacts => {
    const { chains, leftOut } = madeOf(layer).compiled;
    return { name: chains.name, leftOut };
  };
  return { compile, factsOf };
}

/** A layer and what it became. */
interface Made {
  layer: Layer;
  compiled: CompiledLayer;
}

function keyOf({ kind, direction, id }: Layer): string {
  return `${kind} ${direction} ${id}`;
}

/** Of a membership that nobody has told of yet. */
const nobody: readonly Member[] = [];

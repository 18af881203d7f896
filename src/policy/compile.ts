// The pods of a node and their layers to what its kernel is to hold. What did not change since the last time is not made again.

import { assert } from "../base/assert.ts";
import { type CompiledLayer, compileLayer } from "./compile-layer.ts";
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
 * Gives a compiler that remembers what it made of each Layer, and of each list of members, for as long as that very object lives:
 * who hands in the same objects again pays for what changed only. Nothing that was handed in may be changed afterwards.
 */
export function createCompiler(): Compiler {
  const layers = new WeakMap<Layer, CompiledLayer>();
  const members = new WeakMap<readonly Member[], Map<string, readonly MemberElement[]>>();

  const layerOf = (layer: Layer): CompiledLayer => {
    const compiled = layers.get(layer) ?? compileLayer(layer);
    layers.set(layer, compiled);
    return compiled;
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
    const used = new Map<string, CompiledLayer>();
    const names = (list: readonly Layer[]): string[] =>
      list.map((layer) => {
        const compiled = layerOf(layer);
        used.set(compiled.chains.name, compiled);
        return compiled.chains.name;
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
    for (const [name, layer] of used) {
      chains.set(name, layer.chains);
      for (const set of layer.blockSets) blockSets.set(set.name, set);
      for (const kind of layer.memberSets) {
        if (!memberSets.has(kind.name))
          memberSets.set(kind.name, memberSet(kind, memberships.get(kind.membership) ?? nobody));
      }
    }
    return { classes, layers: chains, memberSets, blockSets, links };
  };
  const factsOf = (layer: Layer): LayerFacts => {
    const { chains, leftOut } = layerOf(layer);
    return { name: chains.name, leftOut };
  };
  return { compile, factsOf };
}

/** Of a membership that nobody has told of yet. */
const nobody: readonly Member[] = [];

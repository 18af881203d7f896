// The fake kernel's policy table: what a table that is there or not holds, changed by the same steps as the real one.

import { Fault } from "../base/fault.ts";
import { layerCounter } from "../policy/counters.ts";
import type { LayerChains, LookupCounts, PolicyRuleset } from "../policy/ruleset.ts";
import { type PolicyTable, nftablesThread, ownTables } from "./contract.ts";
import type { FakeGuardDeps } from "./fake-guard.ts";
import { createCounts } from "./nftables/policy-counts.ts";
import { createGoneLookups } from "./nftables/policy-lookups.ts";
import { noPolicy, policyImage } from "./nftables/policy-image.ts";
import { type SetChange, changeSteps, changedState, linkChange, memberChanges } from "./nftables/policy-members.ts";
import { type PolicyState, policySteps, stateOf } from "./nftables/policy-plan.ts";

export interface FakePolicy {
  policy: PolicyTable;
  /** What another program can do to the table: flush its rules, or delete it. */
  damage: (how: "rules flushed" | "table deleted") => void;
  /** Packets come to a counter, where it is there. */
  count: (counter: string, packets: number) => void;
  /** So much is counted by the lookups of a layer from now on. */
  countLookups: (layer: string, counts: LookupCounts) => void;
}

export interface FakePolicyDeps {
  begin: (call: `policy.${keyof PolicyTable}`) => () => void;
  committed: FakeGuardDeps["committed"];
}

export function createFakePolicy({ begin, committed }: FakePolicyDeps): FakePolicy {
  let held: PolicyState | undefined;
  /** It was left there, and somebody else took it. */
  let isStolen = false;
  let isMissed = false;
  const miss = (): void => {
    isMissed ||= isStolen;
    isStolen = false;
  };
  /** What the counters say that have counted anything. */
  const said = new Map<string, number>();
  const counts = createCounts();
  const says = (): ReadonlyMap<string, number> =>
    new Map(Array.from(held?.counters ?? [], (name) => [name, said.get(name) ?? 0]));
  let layers: PolicyRuleset["layers"] = new Map();
  const lookups = new Map<string, LookupCounts>();
  const gone = createGoneLookups();
  const lookupsOf = (layer: LayerChains): LookupCounts => lookups.get(layer.name) ?? nothingCounted(layer);
  const drop = (names: readonly string[] | "all"): void => {
    counts.dropped(names);
    for (const layer of layers.values()) {
      if (names !== "all" && !names.includes(layerCounter(layer))) continue;
      gone.add(layer.name, lookupsOf(layer));
      lookups.delete(layer.name);
    }
    if (names === "all") said.clear();
    else for (const name of names) said.delete(name);
  };

  async function change(
    call: "policy.change" | "policy.admit" | "policy.withdraw",
    changes: readonly SetChange[],
  ): Promise<void> {
    const end = begin(call);
    if (held === undefined) miss();
    if (held === undefined) throw new Fault("kernel-missing", `${call}: there is no policy table`);
    const steps = changeSteps(held, changes);
    held = changedState(held, changes);
    for (const _step of steps) committed(nftablesThread);
    end();
  }

  return {
    policy: {
      ensure: async (ruleset, trust) => {
        const image = policyImage(ruleset);
        const end = begin("policy.ensure");
        if (trust === "as left") miss();
        isStolen = false;
        const steps = policySteps(held, image);
        for (const { dropsCounters } of steps) {
          if (dropsCounters === undefined) continue;
          counts.say(says());
          drop(dropsCounters);
        }
        held = stateOf(image);
        ({ layers } = ruleset);
        for (const _step of steps) committed(nftablesThread);
        end();
        return steps.length > 0;
      },
      wasMissed: () => {
        const was = isMissed;
        isMissed = false;
        return was;
      },
      prepare: async () => {
        const end = begin("policy.prepare");
        const isMissing = held === undefined;
        if (isMissing) {
          held = stateOf(policyImage(noPolicy));
          committed(nftablesThread);
        }
        end();
        return isMissing;
      },
      change: async (changes) => change("policy.change", memberChanges(changes)),
      admit: async (links, members = new Map()) =>
        change("policy.admit", [linkChange("add", links), ...memberChanges({ add: members })]),
      withdraw: async (links) => change("policy.withdraw", [linkChange("remove", links)]),
      counted: async () => {
        const end = begin("policy.counted");
        counts.say(says());
        end();
        return counts.taken();
      },
      lookups: async (wanted) => {
        const end = begin("policy.lookups");
        const read = Array.from(wanted, (layer): [string, LookupCounts] => [layer.name, lookupsOf(layer)]);
        end();
        return new Map(read.filter(([name]) => layers.has(name)));
      },
      goneLookups: () => gone.taken(),
      prune: async () => {
        const end = begin("policy.prune");
        counts.say(says());
        drop("all");
        layers = new Map();
        held = undefined;
        committed(nftablesThread);
        end();
      },
    },
    count: (counter, packets) => {
      if (held?.counters.has(counter) === true) said.set(counter, (said.get(counter) ?? 0) + packets);
    },
    countLookups: (layer, packets) => void lookups.set(layer, packets),
    damage: (how) => {
      if (how === "table deleted") {
        isStolen = held !== undefined;
        held = undefined;
        said.clear();
      } else if (held !== undefined) {
        held = { ...held, chains: new Map([...held.chains].map(([name, chain]) => [name, { ...chain, rules: [] }])) };
      }
      committed("nft", [ownTables.policy]);
    },
  };
}

const nothingCounted = ({ ports, peerLists, rest }: LayerChains): LookupCounts => ({
  ports: ports.map(() => 0),
  peerLists: peerLists.map((tests) => tests.map(() => 0)),
  rest: rest.map(() => 0),
});

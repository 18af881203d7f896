// The fake kernel's policy table: what a table that is there or not holds, changed by the same steps as the real one.

import { Fault } from "../base/fault.ts";
import { type PolicyTable, nftablesThread, ownTables } from "./contract.ts";
import type { FakeGuardDeps } from "./fake-guard.ts";
import { noPolicy, policyImage } from "./nftables/policy-image.ts";
import { type SetChange, changeSteps, changedState, linkChange, memberChanges } from "./nftables/policy-members.ts";
import { type PolicyState, policySteps, stateOf } from "./nftables/policy-plan.ts";

export interface FakePolicy {
  policy: PolicyTable;
  /** What another program can do to the table: flush its rules, or delete it. */
  damage: (how: "rules flushed" | "table deleted") => void;
}

export interface FakePolicyDeps {
  begin: (call: `policy.${keyof PolicyTable}`) => () => void;
  committed: FakeGuardDeps["committed"];
}

export function createFakePolicy({ begin, committed }: FakePolicyDeps): FakePolicy {
  let held: PolicyState | undefined;

  async function change(
    call: "policy.change" | "policy.admit" | "policy.withdraw",
    changes: readonly SetChange[],
  ): Promise<void> {
    const end = begin(call);
    if (held === undefined) throw new Fault("kernel-missing", `${call}: there is no policy table`);
    const steps = changeSteps(held, changes);
    held = changedState(held, changes);
    for (const _step of steps) committed(nftablesThread);
    end();
  }

  return {
    policy: {
      ensure: async (ruleset) => {
        const image = policyImage(ruleset);
        const end = begin("policy.ensure");
        const steps = policySteps(held, image);
        held = stateOf(image);
        for (const _step of steps) committed(nftablesThread);
        end();
        return steps.length > 0;
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
      admit: async (links) => change("policy.admit", [linkChange("add", links)]),
      withdraw: async (links) => change("policy.withdraw", [linkChange("remove", links)]),
      prune: async () => {
        const end = begin("policy.prune");
        held = undefined;
        committed(nftablesThread);
        end();
      },
    },
    damage: (how) => {
      if (how === "table deleted") held = undefined;
      else if (held !== undefined) {
        held = { ...held, chains: new Map([...held.chains].map(([name, chain]) => [name, { ...chain, rules: [] }])) };
      }
      committed("nft", [ownTables.policy]);
    },
  };
}

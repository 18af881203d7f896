// Policy in the kernel: keeps its table as the ruleset says.

import { Fault, isFault } from "../../base/fault.ts";
import type { PolicyTable } from "../contract.ts";
import { type ChannelOptions, createChannel } from "./channel.ts";
import { deleteTable, newTable } from "./messages.ts";
import { policyTableName } from "./policy-base.ts";
import { noPolicy, type PolicyImage, policyImage } from "./policy-image.ts";
import { type SetChange, changeSteps, changedState, linkChange, memberChanges } from "./policy-members.ts";
import { type PolicyState, type Step, doubted, policySteps, reload, stateOf } from "./policy-plan.ts";
import { createCounting } from "./policy-counting.ts";
import { readPolicy } from "./policy-read.ts";
import { readGeneration, readTable } from "./table-read.ts";
import { changedMeanwhile, createTurns } from "./turns.ts";

const whose = "the policy table";
const table = policyTableName;

/** The policy table of the namespace behind `call`. Faults: see `createTurns`, and "kernel-refused" with the kernel's words. */
export function createPolicyTable(options: ChannelOptions): PolicyTable {
  const channel = createChannel(options);
  const takeTurn = createTurns(whose);
  /** What this object left; undefined where it does not know. `generation`: the one in which nothing else had changed. */
  let left: { state: PolicyState; generation: number | undefined } | undefined;
  let isMissed = false;
  const counting = createCounting(channel);
  /** What was made last: chains that are as in it look at sets that are as in it. */
  let made: PolicyImage | undefined;

  /** Each step after the other, while the generations follow each other; where none is given, whatever others do. */
  async function commitAll(steps: readonly Step[], first: number | undefined): Promise<number | undefined> {
    left = undefined;
    let generation = first;
    for (const { what, messages, dropsCounters } of steps) {
      if (dropsCounters !== undefined) await counting.beforeDrop(dropsCounters);
      await channel.commit(what, messages, generation);
      if (dropsCounters !== undefined) counting.afterDrop(dropsCounters);
      generation = generation === undefined ? undefined : following(generation);
    }
    return generation;
  }

  /** Does `work` with what this object left; where that fails or is not known, with what is there. */
  async function trusting<T>(work: (state: PolicyState | undefined, isLeft: boolean) => Promise<T>): Promise<T> {
    const known = left;
    if (known !== undefined) {
      try {
        return await work(known.state, true);
      } catch (error) {
        if (!isFault(error, "kernel-missing") && !isFault(error, "kernel-exists")) throw error;
        left = undefined; // somebody else was here
        isMissed = true;
      }
    }
    return work((await readPolicy(channel))?.state, false);
  }

  async function ensureAsLeft(image: PolicyImage): Promise<boolean> {
    return trusting(async (state) => become(image, policySteps(state && doubt(state, image), image), undefined));
  }

  async function become(image: PolicyImage, steps: readonly Step[], first: number | undefined): Promise<boolean> {
    const generation = await commitAll(steps, first);
    left = { state: stateOf(image), generation };
    made = image;
    return steps.length > 0;
  }

  const doubt = (state: PolicyState, image: PolicyImage): PolicyState =>
    state === left?.state ? state : doubted(state, made === undefined ? [image] : [image, made]);

  async function ensure(image: PolicyImage, isLastTry: boolean): Promise<boolean> {
    const found = isLastTry ? await readPolicy(channel) : await readOrKnown();
    const steps = policySteps(found && doubt(found.state, image), image);
    // It asks for no generation: a program that commits all the time cannot keep policy away, nor have it loaded for nothing.
    if (isLastTry) {
      const load = [{ what: "load the policy table", messages: reload(image), dropsCounters: "all" } as const];
      return become(image, steps.length === 0 ? [] : load, undefined);
    }
    if (steps.length === 0 && (await readGeneration(channel)) !== found?.generation) throw changedMeanwhile(whose);
    return become(image, steps, found?.generation);
  }

  /** Nothing is read where no ruleset of the namespace has changed. */
  async function readOrKnown(): Promise<{ state: PolicyState; generation: number } | undefined> {
    if (left?.generation !== undefined && left.generation === (await readGeneration(channel))) {
      return { state: left.state, generation: left.generation };
    }
    return readPolicy(channel);
  }

  async function change(changes: readonly SetChange[]): Promise<void> {
    await trusting(async (state, isLeft) => {
      if (state === undefined) throw new Fault("kernel-missing", "there is no policy table whose sets change");
      await commitAll(changeSteps(state, changes), undefined);
      // What was only read has sets that nobody vouches for: `ensure` is to read it too.
      if (isLeft) left = { state: changedState(state, changes), generation: undefined };
    });
  }

  return {
    ensure: async (ruleset, trust) => {
      const image = policyImage(ruleset);
      return takeTurn(async (isLastTry) => {
        const hasChanged = await (trust === undefined ? ensure(image, isLastTry) : ensureAsLeft(image));
        counting.become(ruleset.layers);
        return hasChanged;
      });
    },
    wasMissed: () => {
      const was = isMissed;
      isMissed = false;
      return was;
    },
    prepare: () =>
      takeTurn(async (isLastTry) => {
        const isThere = (await readTable(channel, table)) !== undefined;
        return isThere ? false : ensure(policyImage(noPolicy), isLastTry);
      }),
    change: async (changes) => {
      const all = memberChanges(changes);
      await takeTurn(() => change(all));
    },
    admit: async (links, members = new Map()) => {
      const all = [linkChange("add", links), ...memberChanges({ add: members })];
      await takeTurn(() => change(all));
    },
    withdraw: async (links) => {
      await takeTurn(() => change([linkChange("remove", links)]));
    },
    counted: () => takeTurn(counting.counted),
    lookups: (wanted) => takeTurn(() => counting.lookups([...wanted])),
    goneLookups: counting.goneLookups,
    prune: () =>
      takeTurn(async () => {
        left = undefined;
        if ((await readTable(channel, table)) === undefined) return;
        await counting.beforeDrop("all");
        // Made first, so that the deletion finds one.
        await channel.commit("remove the policy table", [newTable(table), deleteTable(table)]);
        counting.afterDrop("all");
        counting.become(new Map());
      }),
  };
}

/** The generation after a commit: the kernel counts on, and never to zero. */
function following(generation: number): number {
  return (generation + 1) >>> 0 || 1;
}

// The source guard in the kernel: loads its table, keeps its sets of (link, address) pairs and of links that may send from any.

import { isDeepStrictEqual } from "node:util";
import { isFault } from "../../base/fault.ts";
import type { Guard, GuardEntry } from "../contract.ts";
import type { Request } from "../netlink/message.ts";
import { type Channel, type ChannelOptions, createChannel } from "./channel.ts";
import { type GuardKeys, guardEntry, guardKeys, guardSetNames, indexKeys, selectKeys } from "./guard-keys.ts";
import { guardTable } from "./guard-table.ts";
import { deleteTable, newTable } from "./messages.ts";
import { elementMessages } from "./set-messages.ts";
import { tableImage } from "./table-image.ts";
import { readGeneration, readKeys, readTable } from "./table-read.ts";
import { changedMeanwhile, createTurns, unlessBusy } from "./turns.ts";

const whose = "the source guard";
const table = guardTable.name;
const image = tableImage(guardTable);

/**
 * The guard of the namespace behind `call`. Calls take effect in the order in which they were made.
 * Faults: "kernel-missing" where `admit` finds no table (`ensure` makes it), "kernel-busy" where the kernel said "not now" too often
 * or too many calls wait, "kernel-refused" with the kernel's words for anything else.
 */
export function createGuard(options: ChannelOptions): Guard {
  const channel = createChannel(options);
  const takeTurn = createTurns(whose);
  let canDestroy = true; // until the kernel does not know the message

  async function ensure(wanted: GuardKeys, isLastTry: boolean): Promise<boolean> {
    const found = isLastTry ? await unlessBusy(readGuard(channel)) : await readGuard(channel);
    const messages = found && changesBetween(found.keys, wanted);
    if (isLastTry && messages?.length === 0) return false;
    // Loading asks for no generation: a program that commits all the time cannot keep the guard away.
    if (isLastTry || found === undefined || messages === undefined) {
      await channel.commit("load the source guard", [...image.load, ...changes("newElements", wanted)]);
      return true;
    }
    if (messages.length > 0) await channel.commit("repair the source guard", messages, found.generation);
    else if ((await readGeneration(channel)) !== found.generation) throw changedMeanwhile(whose);
    return messages.length > 0;
  }

  async function admit(keys: GuardKeys): Promise<void> {
    const messages = changes("newElements", keys);
    if (messages.length > 0) await channel.commit("admit sources to the guard", messages);
  }

  async function withdraw(keys: GuardKeys, isLastTry: boolean): Promise<void> {
    const messages = changes("destroyElements", keys);
    if (messages.length === 0) return;
    if (canDestroy) {
      try {
        return await channel.commit("withdraw sources from the guard", messages);
      } catch (error) {
        if (isUnknownMessage(error)) canDestroy = false;
        else if (!isFault(error, "kernel-missing")) throw error; // where table or set is missing, the other may be there
      }
    }
    await withdrawPresent(keys, isLastTry);
  }

  /** Deletes those keys that are there: for kernels before 6.3, where deleting a missing one is an error that stops the batch. */
  async function withdrawPresent(keys: GuardKeys, isLastTry: boolean): Promise<void> {
    const generation = isLastTry ? undefined : await readGeneration(channel);
    const present = selectKeys(keys, await readGuardKeys(channel), true);
    const messages = changes("deleteElements", present);
    if (messages.length > 0) await channel.commit("withdraw sources from the guard", messages, generation);
  }

  async function list(): Promise<GuardEntry[] | undefined> {
    if ((await readTable(channel, table)) === undefined) return undefined;
    const keys = await readGuardKeys(channel);
    return guardSetNames.flatMap((set) => [...keys[set].values()].map(guardEntry));
  }

  async function prune(): Promise<void> {
    // Made first, so that the deletion finds one.
    await channel.commit("remove the source guard", [newTable(table), deleteTable(table)]);
  }

  return {
    ensure: async (entries) => {
      const keys = guardKeys(entries);
      return takeTurn((isLastTry) => ensure(keys, isLastTry));
    },
    admit: async (entries) => {
      const keys = guardKeys(entries);
      await takeTurn(() => admit(keys));
    },
    withdraw: async (entries) => {
      const keys = guardKeys(entries);
      await takeTurn((isLastTry) => withdraw(keys, isLastTry));
    },
    list: () => takeTurn(list),
    prune: () => takeTurn(prune),
  };
}

function changesBetween(held: GuardKeys, wanted: GuardKeys): Request[] {
  return [
    ...changes("deleteElements", selectKeys(held, wanted, false)),
    ...changes("newElements", selectKeys(wanted, held, false)),
  ];
}

/** The table's keys where it is as it should be, undefined where it has to be loaded. */
async function readGuard(channel: Channel): Promise<{ generation: number; keys: GuardKeys } | undefined> {
  const reading = await readTable(channel, table);
  if (reading === undefined || !isDeepStrictEqual(reading.shape, image.shape)) return undefined;
  return { generation: reading.generation, keys: await readGuardKeys(channel) };
}

async function readGuardKeys(channel: Channel): Promise<GuardKeys> {
  return {
    ok4: indexKeys("ok4", await readKeys(channel, table, "ok4")),
    ok6: indexKeys("ok6", await readKeys(channel, table, "ok6")),
    any: indexKeys("any", await readKeys(channel, table, "any")),
  };
}

/** What a kernel says to a message type that it does not know. */
function isUnknownMessage(error: unknown): boolean {
  return isFault(error, "kernel-refused") && error.data["errno"] === "EINVAL";
}

function changes(change: Parameters<typeof elementMessages>[0], keys: GuardKeys): Request[] {
  return guardSetNames.flatMap((set) => elementMessages(change, table, set, [...keys[set].values()]));
}

// Masquerade in the kernel: keeps its table as the plan says.

import { isDeepStrictEqual } from "node:util";
import type { Masquerade, MasqueradePlan } from "../contract.ts";
import { type ChannelOptions, createChannel } from "./channel.ts";
import { masqTable, masqTableName } from "./masq-table.ts";
import { deleteTable, newTable } from "./messages.ts";
import { deleteSet } from "./set-messages.ts";
import { type TableImage, type TableShape, frameOf, tableImage } from "./table-image.ts";
import { readConstants, readGeneration, readTable } from "./table-read.ts";
import { changedMeanwhile, createTurns, unlessBusy } from "./turns.ts";

const whose = "the masquerade table";

interface Found {
  generation: number;
  shape: TableShape;
  /** What each set holds. */
  sets: ReadonlyMap<string, ReadonlySet<string>>;
}

/** The masquerade of the namespace behind `call`. Faults: see `createTurns`, and "kernel-refused" with the kernel's words. */
export function createMasquerade(options: ChannelOptions): Masquerade {
  const channel = createChannel(options);
  const takeTurn = createTurns(whose);

  async function read(): Promise<Found | undefined> {
    const table = await readTable(channel, masqTableName);
    return table && { ...table, sets: await readConstants(channel, masqTableName) };
  }

  /** Asks for no generation: a program that commits all the time cannot keep us away. */
  async function load({ frame, constants, refill }: TableImage): Promise<void> {
    await channel.commit("load the masquerade", [...frame, ...constants.flatMap(({ make }) => make)]);
    await channel.commit("fill the masquerade", refill);
  }

  /** Sets first, rules in a batch behind them (see ConstantNamedSet); the rules of a plan come at once, into chains that stay. */
  async function ensure(image: TableImage, isLastTry: boolean): Promise<boolean> {
    let found = isLastTry ? await unlessBusy(read()) : await read();
    if (found === undefined || !isSound(found, image)) {
      await load(image);
      return true;
    }
    // In the last try none is asked for, as for `load`: a table that is right stays, whoever commits beside it.
    const generationOf = ({ generation }: Found): number | undefined => (isLastTry ? undefined : generation);
    const { sets } = found;
    const missing = image.constants.filter(({ name }) => !sets.has(name));
    if (missing.length > 0) {
      const made = missing.flatMap(({ make }) => make);
      await channel.commit("add ranges to the masquerade", made, generationOf(found));
      if (!isLastTry) found = await read();
      if (found === undefined || !isSound(found, image)) throw changedMeanwhile(whose);
    }
    const unwanted = [...found.sets.keys()].filter((name) => !image.constants.some((set) => set.name === name));
    if (unwanted.length > 0 || !isDeepStrictEqual(found.shape, image.shape)) {
      const ends = unwanted.map((name) => deleteSet(masqTableName, name));
      await channel.commit("change the masquerade", [...image.refill, ...ends], generationOf(found));
      return true;
    }
    if (!isLastTry && (await readGeneration(channel)) !== found.generation) throw changedMeanwhile(whose);
    return false;
  }

  return {
    ensure: async (plan: MasqueradePlan) => {
      const image = tableImage(masqTable(plan));
      return takeTurn((isLastTry) => ensure(image, isLastTry));
    },
    // Made first, so that the deletion finds one.
    prune: () =>
      takeTurn(() => channel.commit("remove the masquerade", [newTable(masqTableName), deleteTable(masqTableName)])),
  };
}

/** All but rules is as it should be, and of the sets those that are there. */
function isSound({ shape, sets }: Found, image: TableImage): boolean {
  return (
    isDeepStrictEqual(frameOf(shape), frameOf(image.shape)) &&
    image.constants.every(({ name, elements }) => {
      const held = sets.get(name);
      return held === undefined || isDeepStrictEqual(held, elements);
    })
  );
}

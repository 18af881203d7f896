// Masquerade in the kernel: keeps its table as the plan says.

import { isDeepStrictEqual } from "node:util";
import type { Masquerade, MasqueradePlan } from "../contract.ts";
import { type ChannelOptions, createChannel } from "./channel.ts";
import { masqTable, masqTableName } from "./masq-table.ts";
import { deleteTable, newTable } from "./messages.ts";
import { type TableImage, frameOf, tableImage } from "./table-image.ts";
import { readGeneration, readTable } from "./table-read.ts";
import { changedMeanwhile, createTurns } from "./turns.ts";

const whose = "the masquerade table";

/** The masquerade of the namespace behind `call`. Faults: see `createTurns`, and "kernel-refused" with the kernel's words. */
export function createMasquerade(options: ChannelOptions): Masquerade {
  const channel = createChannel(options);
  const takeTurn = createTurns(whose);

  async function ensure({ shape, load, refill }: TableImage, isLastTry: boolean): Promise<boolean> {
    // Loading asks for no generation: a program that commits all the time cannot keep us away.
    const found = isLastTry ? undefined : await readTable(channel, masqTableName);
    if (found === undefined || !isDeepStrictEqual(frameOf(found.shape), frameOf(shape))) {
      await channel.commit("load the masquerade", load);
      return true;
    }
    if (!isDeepStrictEqual(found.shape, shape)) {
      await channel.commit("change the masquerade", refill, found.generation);
      return true;
    }
    if ((await readGeneration(channel)) !== found.generation) throw changedMeanwhile(whose);
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

// The fake kernel's masquerade: the shape of a table that is there or not, compared as the real one's is.

import { isDeepStrictEqual } from "node:util";
import { type Masquerade, nftablesThread, ownTables } from "./contract.ts";
import type { FakeGuardDeps } from "./fake-guard.ts";
import { masqTable } from "./nftables/masq-table.ts";
import { type TableShape, tableImage } from "./nftables/table-image.ts";

export interface FakeMasquerade {
  masquerade: Masquerade;
  /** What another program can do to the table: flush its rules, or delete it. */
  damage: (how: "rules flushed" | "table deleted") => void;
}

export interface FakeMasqueradeDeps {
  begin: (call: `masquerade.${keyof Masquerade}`) => () => void;
  committed: FakeGuardDeps["committed"];
}

export function createFakeMasquerade({ begin, committed }: FakeMasqueradeDeps): FakeMasquerade {
  let held: TableShape | undefined;
  return {
    masquerade: {
      ensure: async (plan) => {
        const { shape } = tableImage(masqTable(plan));
        const end = begin("masquerade.ensure");
        const changes = !isDeepStrictEqual(held, shape);
        held = shape;
        if (changes) committed(nftablesThread);
        end();
        return changes;
      },
      prune: async () => {
        const end = begin("masquerade.prune");
        held = undefined;
        committed(nftablesThread);
        end();
      },
    },
    damage: (how) => {
      if (how === "table deleted") held = undefined;
      else if (held !== undefined) {
        held = { ...held, chains: held.chains.map((chain) => ({ ...chain, rules: [] })) };
      }
      committed("nft", [ownTables.masquerade]);
    },
  };
}

// What the lookups of policy layers have counted: read from rules and elements, and kept for layers that go.

import { keepNewest } from "../../base/newest.ts";
import type { LayerChains, LookupCounts } from "../../policy/ruleset.ts";
import { decodeAttributes, defineAttributes } from "../netlink/codec.ts";
import type { Channel } from "./channel.ts";
import { nftMessage } from "./constants.ts";
import { counterAttributes } from "./expression-kinds.ts";
import { textOfKey } from "./elements.ts";
import { keyBytes } from "./fields.ts";
import { attributesMessage, ruleAttributes } from "./messages.ts";
import { policyTableName } from "./policy-base.ts";
import { layerParts } from "./policy-layers.ts";
import { elementsAttributes } from "./set-messages.ts";

const table = policyTableName;

/** Layers that have gone and that nobody has asked for since; those beyond are forgotten, the oldest first. */
export const goneLayersMax = 1024;

const counterExpression = "counter";
const ruleCounts = defineAttributes({
  expressions: {
    id: 4,
    kind: "list",
    of: defineAttributes({ name: { id: 1, kind: "string" }, data: { id: 2, kind: "bytes" } }),
  },
});
const elementCounts = defineAttributes({
  elements: {
    id: 3,
    kind: "list",
    of: defineAttributes({
      key: { id: 1, kind: "nested", of: defineAttributes({ value: { id: 1, kind: "bytes" } }) },
      expression: {
        id: 7,
        kind: "nested",
        of: defineAttributes({ data: { id: 2, kind: "nested", of: counterAttributes } }),
      },
    }),
  },
});

/**
 * What the lookups of a layer that is in the table have counted. Elements are read after what they lead to, so that they never say
 * less. @throws Fault "kernel-missing" where the layer is not there, "kernel-busy"
 */
export async function readLookups(channel: Channel, layer: LayerChains): Promise<LookupCounts> {
  const { map, chains } = layerParts(layer);
  const tallies = new Map<string, readonly number[]>();
  for (const { name } of chains) tallies.set(name, await readTallies(channel, name));
  const of = (chain: string | undefined, length: number): number[] =>
    Array.from({ length }, (_, index) => tallies.get(chain ?? "")?.[index] ?? 0);
  const found = map === undefined ? new Map<string, number>() : await readElementCounts(channel, map.name);
  // The first chain asks the map, then come the lists, then the rest; without a map there is the rest alone.
  const lists = chains.slice(1, 1 + layer.peerLists.length);
  return {
    ports: layer.ports.map(
      ({ protocol, port }) => found.get(textOfKey(keyBytes(map?.key ?? [], [protocol, port]))) ?? 0,
    ),
    peerLists: layer.peerLists.map((tests, index) => of(lists[index]?.name, tests.length)),
    rest: of(chains.at(-1)?.name, layer.rest.length),
  };
}

/** Of each rule of a chain that counts. */
async function readTallies(channel: Channel, chain: string): Promise<number[]> {
  const question = attributesMessage(nftMessage.getRule, 0, ruleAttributes, { table, chain });
  const rules = await channel.dump(`read what ${chain} has counted`, question, ruleCounts);
  return rules.flatMap(({ expressions = [] }) => {
    const data = expressions.find(({ name }) => name === counterExpression)?.data;
    return data === undefined ? [] : [Number(decodeAttributes(counterAttributes, data).packets ?? 0n)];
  });
}

async function readElementCounts(channel: Channel, set: string): Promise<Map<string, number>> {
  const question = attributesMessage(nftMessage.getElements, 0, elementsAttributes, { table, set });
  const answers = await channel.dump(`read what ${set} has counted`, question, elementCounts);
  return new Map(
    answers.flatMap(({ elements = [] }) =>
      elements.flatMap(({ key, expression }) =>
        key?.value === undefined ? [] : [[textOfKey(key.value), Number(expression?.data?.packets ?? 0n)] as const],
      ),
    ),
  );
}

/** Counts of layers that have gone, until somebody takes them. */
export interface GoneLookups {
  add: (layer: string, counts: LookupCounts) => void;
  taken: () => Map<string, LookupCounts>;
}

export function createGoneLookups(): GoneLookups {
  let gone = new Map<string, LookupCounts>();
  return {
    add: (layer, counts) => {
      const before = gone.get(layer);
      keepNewest(gone, layer, before === undefined ? counts : sumOf(before, counts), goneLayersMax);
    },
    taken: () => {
      const taken = gone;
      gone = new Map();
      return taken;
    },
  };
}

/** Of one layer that was there twice. */
function sumOf(a: LookupCounts, b: LookupCounts): LookupCounts {
  const sums = (one: readonly number[], other: readonly number[]): number[] =>
    one.map((packets, index) => packets + (other[index] ?? 0));
  return {
    ports: sums(a.ports, b.ports),
    peerLists: a.peerLists.map((list, index) => sums(list, b.peerLists[index] ?? [])),
    rest: sums(a.rest, b.rest),
  };
}

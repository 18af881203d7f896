// Reads a table back from the kernel: its shape, and the keys in its named sets.

import { isFault } from "../../base/fault.ts";
import { elementIntervalEnd, nftMessage, setFlag, userDataType } from "./constants.ts";
import type { Channel } from "./channel.ts";
import {
  attributesMessage,
  chainAttributes,
  generationAttributes,
  ruleAttributes,
  tableAttributes,
  userDataValue,
} from "./messages.ts";
import { elementsAttributes, setAttributes } from "./set-messages.ts";
import { type ChainShape, type TableShape, byName, elementText } from "./table-image.ts";

/** What the kernel said, and the generation of the namespace's rulesets before it was asked. */
export interface TableReading {
  generation: number;
  shape: TableShape;
}

/** The number that grows with every change of any ruleset in the namespace. */
export async function readGeneration(channel: Channel): Promise<number> {
  const question = attributesMessage(nftMessage.getGeneration, 0, generationAttributes, {});
  const { id = 0 } = await channel.get("read the ruleset generation", question, generationAttributes);
  return id;
}

/** The shape of the table `name`, undefined where there is none. It is several readings: true only if the generation is still the same. */
export async function readTable(channel: Channel, name: string): Promise<TableReading | undefined> {
  const generation = await readGeneration(channel);
  try {
    const question = attributesMessage(nftMessage.getTable, 0, tableAttributes, { name });
    const { flags = 0, userData } = await channel.get(`read table ${name}`, question, tableAttributes);
    const chains = await readChains(channel, name);
    return { generation, shape: { tag: tagOf(userData), flags, chains } };
  } catch (error) {
    if (isFault(error, "kernel-missing")) return undefined;
    throw error;
  }
}

/** The keys of a named set; none where table or set is missing. */
export async function readKeys(channel: Channel, table: string, set: string): Promise<Uint8Array[]> {
  const question = attributesMessage(nftMessage.getElements, 0, elementsAttributes, { table, set });
  const answers = await unlessMissing(channel.dump(`read set ${table} ${set}`, question, elementsAttributes), []);
  return answers.flatMap(({ elements = [] }) => elements.flatMap(({ key }) => key?.value ?? []));
}

/** The sets of a table that have a name, each with the texts of what it holds; none where the table is missing. */
export async function readConstants(channel: Channel, table: string): Promise<Map<string, ReadonlySet<string>>> {
  const question = attributesMessage(nftMessage.getSet, 0, setAttributes, { table });
  const sets = await unlessMissing(channel.dump(`read the sets of ${table}`, question, setAttributes), []);
  const held = new Map<string, ReadonlySet<string>>();
  for (const { name = "", flags = 0 } of sets) {
    if ((flags & setFlag.anonymous) === 0) held.set(name, new Set(await readElements(channel, table, name)));
  }
  return held;
}

async function readElements(channel: Channel, table: string, set: string): Promise<string[]> {
  const question = attributesMessage(nftMessage.getElements, 0, elementsAttributes, { table, set });
  const answers = await unlessMissing(channel.dump(`read set ${table} ${set}`, question, elementsAttributes), []);
  return answers.flatMap(({ elements = [] }) =>
    elements.map(({ key, flags = 0 }) =>
      elementText(key?.value ?? Buffer.alloc(0), (flags & elementIntervalEnd) !== 0),
    ),
  );
}

async function unlessMissing<T>(reading: Promise<T>, instead: T): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (isFault(error, "kernel-missing")) return instead;
    throw error;
  }
}

async function readChains(channel: Channel, table: string): Promise<ChainShape[]> {
  // Older kernels cannot narrow a list of chains to one table: they give those of the whole family.
  const ofFamily = await channel.dump(
    `read the chains of ${table}`,
    attributesMessage(nftMessage.getChain, 0, chainAttributes, {}),
    chainAttributes,
  );
  const rules = await channel.dump(
    `read the rules of ${table}`,
    attributesMessage(nftMessage.getRule, 0, ruleAttributes, { table }),
    ruleAttributes,
  );
  const tags = Map.groupBy(rules, (rule) => rule.chain);
  return ofFamily
    .filter((chain) => chain.table === table)
    .map(({ name = "", type = "", hook, policy = -1 }) => ({
      name,
      hook: hook === undefined ? undefined : { type, number: hook.number ?? -1, priority: hook.priority ?? -1, policy },
      rules: (tags.get(name) ?? []).map((rule) => tagOf(rule.userData)),
    }))
    .toSorted(byName);
}

function tagOf(userData: Uint8Array | undefined): string {
  const tag = userData === undefined ? undefined : userDataValue(userData, userDataType.ourTag);
  return tag === undefined ? "" : Buffer.from(tag).toString("hex");
}

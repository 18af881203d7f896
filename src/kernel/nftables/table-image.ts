// A table as it should be in the kernel: the messages that make it from nothing, and the marks by which it is known again.

import { createHash } from "node:crypto";
import { present } from "../../base/assert.ts";
import { createWriter, written } from "../netlink/codec.ts";
import { type Request, writeMessage } from "../netlink/message.ts";
import { policyAccept, userDataType } from "./constants.ts";
import { type SetIds, ruleExpressions } from "./expressions.ts";
import {
  deleteTable,
  flushRules,
  hookValues,
  newChain,
  newCounter,
  newRule,
  newTable,
  userDataEntry,
} from "./messages.ts";
import { constantElements, fields } from "./fields.ts";
import type { Chain, ConstantNamedSet, Rule, Statement, Table } from "./ruleset.ts";
import { newConstantSet, newSet } from "./set-messages.ts";

/**
 * What tells one table from another: the tag of its frame (all but the rules), and of each rule in its chain. The kernel never changes a rule,
 * a rule that anybody else makes has no tag of ours, and what a rule of ours refers to cannot be removed from under it.
 * So equal shapes are equal rulesets.
 */
export interface TableShape {
  tag: string;
  /** NFT_TABLE_F_*: other than 0 is not our doing (a dormant table guards nothing). */
  flags: number;
  /** In the order of their names. */
  chains: ChainShape[];
}

export interface ChainShape {
  name: string;
  hook: { type: string; number: number; priority: number; policy: number } | undefined;
  /** Tags of the rules in order; "" for a rule without one. */
  rules: string[];
}

export interface TableImage {
  name: string;
  shape: TableShape;
  /** One batch makes the table anew, whatever there was, but for constants and what may come with them only: the rules. */
  frame: readonly Request[];
  constants: readonly ConstantImage[];
  /** One batch makes the table anew, whatever there was; its named sets are empty. For a table without constants. */
  load: readonly Request[];
  /**
   * One batch makes the rules anew where the frame is right. A packet sees the old rules or the new ones, never a chain without: so
   * it goes where NAT is concerned, which looks at the first packet of a connection alone.
   */
  refill: readonly Request[];
}

/** A constant set, and the texts of what it holds (`elementText`). */
export interface ConstantImage {
  name: string;
  make: readonly Request[];
  elements: ReadonlySet<string>;
}

/** An element as a text, equal for equal ones. */
export function elementText(key: Uint8Array, intervalEnd: boolean): string {
  return `${intervalEnd ? "end " : ""}${Buffer.from(key).toString("hex")}`;
}

/** The shape without rules: where two of them are equal, `refill` is enough. */
export function frameOf(shape: TableShape): TableShape {
  return { ...shape, chains: shape.chains.map((chain) => ({ ...chain, rules: [] })) };
}

/** Bytes of a tag: a hash cut to a length that no accident matches. */
const tagLenBytes = 8;

/** The image of `table`. Equal tables give equal images, in every run of every release that encodes them equally. */
export function tableImage(table: Table): TableImage {
  const setIds = numberSets(table);
  const chains = table.chains.map((chain) => chainImage(table.name, chain, setIds));
  const base = [
    ...table.counters.map((counter) => newCounter(table.name, counter)),
    ...chains.map(({ make }) => make),
    ...table.sets.map((set) => newSet(table.name, set, setIds.of(set.name))),
  ];
  const rules = chains.flatMap((chain) => chain.rules);
  const comment = userDataEntry(userDataType.tableComment, Buffer.from(`${table.comment}\0`));
  // The bytes are hashed and not the value: so a release that encodes the same value otherwise replaces the table too.
  const tag = tagOf([newTable(table.name, comment), ...base]);
  const userData = Buffer.concat([comment, userDataEntry(userDataType.ourTag, tag)]);
  const frame = [
    newTable(table.name), // so that the deletion finds one
    deleteTable(table.name),
    newTable(table.name, userData),
    ...base,
  ];
  return {
    name: table.name,
    shape: {
      tag: tag.toString("hex"),
      flags: 0,
      chains: chains.map(({ shape }) => shape).toSorted(byName),
    },
    frame,
    constants: (table.constants ?? []).map((set) => constantImage(table.name, set, setIds)),
    load: [...frame, ...rules],
    refill: [flushRules(table.name), ...rules],
  };
}

/** The order of chains in a shape. */
export function byName(a: ChainShape, b: ChainShape): number {
  return a.name < b.name ? -1 : 1;
}

function constantImage(table: string, { name, key, oneOf }: ConstantNamedSet, setIds: NumberedSets): ConstantImage {
  const field = fields[key];
  const { interval, elements } = constantElements(field, oneOf);
  return {
    name,
    make: newConstantSet(table, { id: setIds.of(name), name, field, interval, elements }),
    elements: new Set(elements.map((element) => elementText(element.key, element.intervalEnd))),
  };
}

export interface ChainImage {
  shape: ChainShape;
  /** Makes it, without rules. */
  make: Request;
  rules: readonly Request[];
  /** Named sets and maps that its rules refer to: as long as they do, a constant one holds what it was made with. */
  looksAt: readonly string[];
}

/** A chain as it should be in the table of that name. */
export function chainImage(table: string, chain: Chain, setIds: SetIds): ChainImage {
  const rules = chain.rules.map((rule) => encodeRule(table, chain.name, rule, setIds));
  return {
    shape: chainShape(chain, rules),
    make: newChain(table, chain),
    rules: rules.flatMap(({ messages }) => messages),
    looksAt: chain.rules.flat().flatMap(namedSets),
  };
}

function namedSets(statement: Statement): string[] {
  if ("inSet" in statement) return [statement.inSet];
  if ("notInSet" in statement) return [statement.notInSet];
  return "byMap" in statement ? [statement.byMap] : [];
}

interface EncodedRule {
  tag: Buffer;
  messages: Request[];
}

function encodeRule(table: string, chain: string, rule: Rule, setIds: SetIds): EncodedRule {
  const { expressions, sets } = ruleExpressions(rule, setIds);
  const parts = sets.flatMap((set) => newConstantSet(table, set));
  const tag = tagOf([...parts, newRule(table, chain, expressions)]);
  return { tag, messages: [...parts, newRule(table, chain, expressions, tag)] };
}

function chainShape({ name, hook }: Chain, rules: readonly EncodedRule[]): ChainShape {
  const tags = rules.map(({ tag }) => tag.toString("hex"));
  const entry =
    hook === undefined ? undefined : { type: hook.type ?? "filter", ...hookValues(hook), policy: policyAccept };
  return { name, hook: entry, rules: tags };
}

/** The mark of what these messages make. */
export function tagOf(messages: readonly Request[]): Buffer {
  const writer = createWriter();
  for (const message of messages) writeMessage(writer, message, 0);
  return createHash("sha256").update(written(writer)).digest().subarray(0, tagLenBytes);
}

interface NumberedSets extends SetIds {
  of(name: string): number;
}

function numberSets({ sets, constants = [] }: Table): NumberedSets {
  const names = [...sets, ...constants].map(({ name }) => name);
  const ids = new Map(names.map((name, index) => [name, index + 1]));
  let last = names.length;
  return { of: (name) => present(ids.get(name), `the set ${name}`), next: () => (last += 1) };
}

// From what the policy table is to what it should be, in batches between which nothing opens: pure.

import { isDeepStrictEqual } from "node:util";
import { present } from "../../base/assert.ts";
import type { Request } from "../netlink/message.ts";
import { deleteChain, deleteCounter, deleteTable, flushRules, newTable } from "./messages.ts";
import { classMaps, policyTableName } from "./policy-base.ts";
import { bytesOfKey, type Elements, noElements } from "./elements.ts";
import { type PolicyImage, type SetImage, baseChainNames } from "./policy-image.ts";
import { deleteSet, elementMessages, verdictMessages } from "./set-messages.ts";
import type { ChainImage, ChainShape } from "./table-image.ts";
import { type Changes, changesBetween, classWay } from "./policy-way.ts";

const table = policyTableName;

/** What the kernel holds, or is believed to hold. */
export interface PolicyState {
  /** Of the table; see TableShape. */
  tag: string;
  flags: number;
  counters: ReadonlySet<string>;
  /** `elements` of sets that can change; a constant one cannot, as long as a rule refers to it. */
  sets: ReadonlyMap<string, SetState>;
  chains: ReadonlyMap<string, ChainShape>;
}

export interface SetState {
  tag: string;
  keyLen: number;
  elements: Elements | undefined;
}

/** One batch. */
export interface Step {
  what: string;
  messages: readonly Request[];
  /** Counters that it takes away, or begins anew: what they have counted is to be read before. */
  dropsCounters?: readonly string[] | "all";
}

/** What the kernel holds once all steps to `image` are done. */
export function stateOf({ tag, counters, sets, chains }: PolicyImage): PolicyState {
  return {
    tag,
    flags: 0,
    counters: new Set(counters.keys()),
    sets: new Map([...sets].map(([name, { tag: of, keyLen, elements }]) => [name, { tag: of, keyLen, elements }])),
    chains: new Map([...chains].map(([name, { shape }]) => [name, shape])),
  };
}

/**
 * The steps from `found` to `image`; none where nothing has to change. The order has four reasons:
 * - A set of intervals finds nothing for some 0.2 ms after the batch that makes it (Linux 6.18): such sets go one batch ahead.
 * - A packet that walks rules of one generation already finds the elements of the next, but chains that came with them are empty for
 *   it, and it would pass: chains, with all that they look at, are there before an element leads to them.
 * - For the same reason elements go before others come, each in a batch of its own: nobody is a member of both.
 * - A packet asks two maps of classes, one after the other: where both change, it could be let out by the old one and let in by the
 *   new one. So each class first gets what both its old chain and its new one let pass.
 */
export function policySteps(found: PolicyState | undefined, image: PolicyImage): Step[] {
  if (found === undefined) return loadSteps(image);
  if (isDamaged(found, image))
    return [{ what: "load the policy table anew", messages: reload(image), dropsCounters: "all" }];
  const missing = [...image.sets.values()].filter(({ name }) => !found.sets.has(name));
  const kept = [...image.sets.values()].filter(({ name }) => found.sets.has(name));
  const changes = kept.map((set) => changesOf(found, set));
  const members = changes.filter(({ set }) => !classMapNames.includes(set));
  const way = classWay(changes.filter(({ set }) => classMapNames.includes(set)));
  const chains = [...image.chains.values()].filter(({ shape }) => !found.chains.has(shape.name));
  const dropped = [...found.counters].filter((name) => !image.counters.has(name));
  const steps: Step[] = [
    {
      what: "remove members of policy sets",
      messages: members.flatMap(removed),
    },
    { what: "add networks of policies", messages: missing.filter(({ late }) => late).flatMap(({ make }) => make) },
    {
      what: "add chains and sets of policies",
      messages: makeAll(
        missing.filter(({ late }) => !late),
        [...chains, ...way.chains],
        [...image.counters].filter(([name]) => !found.counters.has(name)).map(([, make]) => make),
      ),
    },
    { what: "lead classes through both policies", messages: way.first.flatMap(changed) },
    { what: "switch classes to their policies", messages: way.second.flatMap(changed) },
    {
      what: "add members of policy sets",
      messages: members.flatMap(added),
    },
    {
      what: "remove what policies no longer need",
      messages: removals(found, image, { chains: way.chains, counters: dropped }),
      ...(dropped.length === 0 ? {} : { dropsCounters: dropped }),
    },
  ];
  return steps.filter(({ messages }) => messages.length > 0);
}

/** Everything in one batch, whatever was there. Networks find nothing for a moment: what they allow has to try again, nothing opens. */
export function reload(image: PolicyImage): Request[] {
  // Made first, so that the deletion finds one.
  const fresh = [newTable(table), deleteTable(table), image.table];
  const sets = [...image.sets.values()];
  return [...fresh, ...makeAll(sets, [...image.chains.values()], [...image.counters.values()])];
}

const classMapNames: readonly string[] = Object.values(classMaps);

/** Where there is no table everything passes, and goes on to until the second batch. */
function loadSteps(image: PolicyImage): Step[] {
  const [late, others] = [true, false].map((isLate) => [...image.sets.values()].filter((set) => set.late === isLate));
  const networks = present(late, "sets").flatMap(({ make }) => make);
  const rest = makeAll(present(others, "sets"), [...image.chains.values()], [...image.counters.values()]);
  const ahead = { what: "load the networks of policies", messages: [image.table, ...networks] };
  return [...(networks.length > 0 ? [ahead] : []), { what: "load the policy table", messages: [image.table, ...rest] }];
}

/** Each after what it names. */
function makeAll(sets: readonly SetImage[], chains: readonly ChainImage[], counters: readonly Request[]): Request[] {
  return [
    ...counters,
    ...sets.flatMap(({ make }) => make),
    ...chains.map(({ make }) => make),
    ...sets.flatMap(({ fill }) => fill),
    ...sets.flatMap(({ name, elements = noElements }) => added({ set: name, come: new Map(elements) })),
    ...chains.flatMap(({ rules }) => rules),
  ];
}

/** Something is not as we make it, under a name of ours: somebody else was here, or another release. */
function isDamaged({ tag, flags, sets, chains }: PolicyState, image: PolicyImage): boolean {
  return (
    tag !== image.tag ||
    flags !== 0 ||
    baseChainNames.some((name) => !chains.has(name)) ||
    [...image.chains].some(([name, { shape }]) => chains.has(name) && !isShape(chains.get(name), shape)) ||
    [...image.sets].some(([name, set]) => (sets.get(name)?.tag ?? set.tag) !== set.tag)
  );
}

function isShape(found: ChainShape | undefined, shape: ChainShape): boolean {
  return found === shape || isDeepStrictEqual(found, shape);
}

/**
 * What was read, with a mark less on those constant sets that nobody can vouch for: they are looked at by no chain that is as in
 * `known`, so somebody may have changed them.
 */
export function doubted(found: PolicyState, known: readonly PolicyImage[]): PolicyState {
  const proven = new Set<string>();
  for (const { chains } of known) {
    for (const [name, { shape, looksAt }] of chains) {
      if (isShape(found.chains.get(name), shape)) for (const set of looksAt) proven.add(set);
    }
  }
  const sets = [...found.sets].map(([name, set]): [string, SetState] => {
    const isDoubtful = set.elements === undefined && !proven.has(name);
    return [name, isDoubtful ? { ...set, tag: "" } : set];
  });
  return { ...found, sets: new Map(sets) };
}

function changesOf(found: PolicyState, { name, elements = noElements }: SetImage): Changes {
  return changesBetween(name, found.sets.get(name)?.elements ?? noElements, elements);
}

const changed = (changes: Changes): Request[] => [...removed(changes), ...added(changes)];

function removed({ set, gone }: Changes): Request[] {
  return elementMessages("deleteElements", table, set, keysOf(gone));
}

function added({ set, come }: Pick<Changes, "set" | "come">): Request[] {
  const verdicts = [...come].flatMap(([key, { verdict }]) =>
    verdict === undefined ? [] : { key: bytesOfKey(key), verdict },
  );
  return verdicts.length > 0
    ? verdictMessages(table, set, verdicts)
    : elementMessages("newElements", table, set, keysOf(come));
}

function keysOf(elements: Changes["gone"]): Uint8Array[] {
  return Array.from(elements.keys(), bytesOfKey);
}

/** Rules go first, then what they named: sets and maps, then chains, which maps named. */
function removals(
  found: PolicyState,
  image: PolicyImage,
  more: { chains: readonly ChainImage[]; counters: readonly string[] },
): Request[] {
  const chains = [
    ...more.chains.map(({ shape }) => shape.name),
    ...[...found.chains.keys()].filter((name) => !image.chains.has(name)),
  ];
  const sets = [...found.sets.keys()].filter((name) => !image.sets.has(name));
  return [
    ...chains.map((name) => flushRules(table, name)),
    ...sets.map((name) => deleteSet(table, name)),
    ...chains.map((name) => deleteChain(table, name)),
    ...more.counters.map((name) => deleteCounter(table, name)),
  ];
}

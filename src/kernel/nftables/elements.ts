// What sets and maps of the policy table hold, and what differs between two: a change of one among a hundred thousand is found without a look at all.

import type { Verdict } from "./ruleset.ts";
import { verdictText } from "./table-text.ts";

/** What stands under a key: of a map a verdict, of a set nothing. */
export interface Element {
  verdict?: Verdict;
}

/** All elements of sets: there can be hundreds of thousands. */
export const ofSet: Element = Object.freeze({});

/** The bytes of a key as `Elements` have them: Latin-1 text, which takes a fifth of the memory. */
export function textOfKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/** The bytes again. */
export function bytesOfKey(key: string): Buffer {
  return Buffer.from(key, "latin1");
}

/** By `textOfKey`. */
export interface Elements {
  has: (key: string) => boolean;
  get: (key: string) => Element | undefined;
  /** Each once. */
  [Symbol.iterator]: () => Iterator<[string, Element]>;
  /** They are those of all parts together, which may overlap. What has not changed between two is the same part. */
  parts?: readonly ReadonlyMap<string, Element>[];
  /** They are as `base` but for keys that were taken away or put in. */
  since?: { base: Elements; touched: ReadonlySet<string> };
}

export interface ChangedElements extends Elements {
  /** Takes these away, then puts those in. */
  change: (remove: Elements, add: Elements) => void;
}

/** What is to be taken away and what is to be put in; a new verdict for a key is both. */
export interface Difference {
  gone: ReadonlyMap<string, Element>;
  come: ReadonlyMap<string, Element>;
}

export const noElements: ReadonlyMap<string, Element> = new Map();

export function joinElements(parts: readonly ReadonlyMap<string, Element>[]): Elements {
  const get = (key: string): Element | undefined => {
    for (const part of parts) {
      const element = part.get(key);
      if (element !== undefined) return element;
    }
    return undefined;
  };
  return {
    parts,
    get,
    has: (key) => get(key) !== undefined,
    [Symbol.iterator]: () => new Map(parts.flatMap((part) => [...part])).entries(),
  };
}

/** Begins as `base`, which stays as it is. */
export function changeElements(base: Elements): ChangedElements {
  const touched = new Set<string>();
  /** What became of those that were touched, where they are there. */
  const there = new Map<string, Element>();
  function* entries(): Generator<[string, Element]> {
    for (const entry of base) if (!touched.has(entry[0])) yield entry;
    yield* there;
  }
  const get = (key: string): Element | undefined => (touched.has(key) ? there.get(key) : base.get(key));
  return {
    since: { base, touched },
    get,
    has: (key) => get(key) !== undefined,
    [Symbol.iterator]: entries,
    change: (remove, add) => {
      for (const [key] of remove) {
        touched.add(key);
        there.delete(key);
      }
      for (const [key, element] of add) {
        if (get(key) !== undefined) continue;
        touched.add(key);
        there.set(key, element);
      }
    },
  };
}

/** From the one to the other. */
export function difference(before: Elements, after: Elements): Difference {
  if (before === after) return { gone: noElements, come: noElements };
  if (before.since !== undefined) return differenceOfChanged(before, before.since, after);
  const [had, has] = ownParts(before, after);
  return { gone: missingIn(after, has, had), come: missingIn(before, had, has) };
}

/** What was touched is looked at one by one, beside what differs anyway. */
function differenceOfChanged(
  before: Elements,
  { base, touched }: NonNullable<Elements["since"]>,
  after: Elements,
): Difference {
  const whole = difference(base, after);
  const [gone, come] = [new Map(whole.gone), new Map(whole.come)];
  for (const key of touched) {
    const [was, is] = [before.get(key), after.get(key)];
    for (const [map, one, other] of [
      [gone, was, is],
      [come, is, was],
    ] as const) {
      if (one === undefined || isSame(one, other)) map.delete(key);
      else map.set(key, one);
    }
  }
  return { gone, come };
}

/** What each has for itself, in parts: what they share differs in nothing. */
function ownParts(a: Elements, b: Elements): [Elements[], Elements[]] {
  const [ofA, ofB] = [partsOf(a), partsOf(b)];
  const [inA, inB] = [new Set(ofA), new Set(ofB)];
  return [ofA.filter((part) => !inB.has(part)), ofB.filter((part) => !inA.has(part))];
}

const partsOf = (elements: Elements): readonly Elements[] => elements.parts ?? [elements];

/** So many are looked up in one part after the other; for more, the parts are put together first. */
const lookedUpMax = 256;

/** What of `parts` is not in `others`; most of it is in `likely`, which are parts of these. */
function missingIn(others: Elements, likely: readonly Elements[], parts: readonly Elements[]): Map<string, Element> {
  const entries = parts.flatMap((part) => [...part]);
  const isMany = entries.length > lookedUpMax && partsOf(others).length > 1;
  const places = isMany ? [new Map(others)] : [...likely, others];
  return new Map(entries.filter(([key, element]) => !places.some((place) => isSame(element, place.get(key)))));
}

function isSame({ verdict }: Element, other: Element | undefined): boolean {
  if (verdict === undefined || other?.verdict === undefined) return other !== undefined;
  return verdictText(verdict) === verdictText(other.verdict);
}

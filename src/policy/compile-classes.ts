// Which class, a number that a pod's link carries, stands for which layers. Pods with equal layers share one.

import { hash } from "node:crypto";
import { z } from "zod";
import { Fault } from "../base/fault.ts";
import { classNumbers } from "./limits.ts";
import type { Layer, Subject } from "./model.ts";

/** The class of pods without any layer. */
export const openClass = 100;
/** Link groups are 32 bits wide; these are ours. A node has far fewer pods than there are numbers. */
export const { first: firstClass, last: lastClass } = classNumbers;

const classNumber = z.int().min(firstClass).max(lastClass);
const keptSchema = z.strictObject({
  /** Where the search for a free number begins. */
  next: classNumber,
  /** By identity: a hash of the layers' ids. */
  numbers: z.record(z.string().regex(/^[0-9a-f]{64}$/), classNumber),
});
/** What is to be written down: plain JSON. */
export type ClassesKept = Readonly<z.output<typeof keptSchema>>;

/**
 * Reads what was written down; undefined where it is not that. Then the caller begins anew, which costs nothing but moves of links:
 * numbers that they carry are not given again.
 */
export function readClasses(value: unknown): ClassesKept | undefined {
  const read = keptSchema.safeParse(value);
  if (!read.success) return undefined;
  const numbers = Object.values(read.data.numbers);
  return new Set(numbers).size === numbers.length ? read.data : undefined;
}

type Layers = Pick<Subject, "egress" | "ingress">;

export interface Classes {
  /**
   * Gives every subject its class. A class keeps its number as long as a subject has its layers, by their ids, or a link carries the
   * number; afterwards the number rests until all others had their turn.
   * @param subjects all pods that have a link, or are about to get one
   * @param carried the numbers that links carry now
   */
  assign: <S extends Layers>(
    subjects: Iterable<S>,
    carried: ReadonlySet<number>,
  ) => { subject: S; classNumber: number }[];
  /** What to write down after `assign`. What is not written down in time is given anew: `carried` keeps it safe. */
  kept: () => ClassesKept;
}

export function createClasses(kept: ClassesKept = { next: firstClass, numbers: {} }): Classes {
  const numbers = new Map(Object.entries(kept.numbers));
  let { next } = kept;

  /** Next fit: the first free number from where the last one was found. */
  const take = (carried: ReadonlySet<number>): number => {
    const taken = new Set([...carried, ...numbers.values()]);
    for (let tried = firstClass; tried <= lastClass; tried += 1) {
      const found = next;
      next = found === lastClass ? firstClass : found + 1;
      if (!taken.has(found)) return found;
    }
    throw new Fault("bug", `classes ${firstClass}-${lastClass} are all taken: links carry ${carried.size} of them`);
  };

  return {
    assign: (subjects, carried) => {
      const wanted = [...subjects].map((subject) => ({ subject, identity: identityOf(subject) }));
      const living = new Set(wanted.map(({ identity }) => identity));
      for (const [identity, number] of numbers) {
        if (!living.has(identity) && !carried.has(number)) numbers.delete(identity);
      }
      return wanted.map(({ subject, identity }) => {
        if (identity === undefined) return { subject, classNumber: openClass };
        const number = numbers.get(identity) ?? take(carried);
        numbers.set(identity, number);
        return { subject, classNumber: number };
      });
    },
    kept: () => ({ next, numbers: Object.fromEntries(numbers) }),
  };
}

/** Undefined where there is no layer. The whole hash: pods of one identity are judged alike. */
function identityOf({ egress, ingress }: Layers): string | undefined {
  if (egress.length + ingress.length === 0) return undefined;
  const idOf = ({ kind, id }: Layer): string[] => [kind, id];
  return hash("sha256", JSON.stringify([egress.map(idOf), ingress.map(idOf)]));
}

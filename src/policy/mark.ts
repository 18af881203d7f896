// Which state of the security groups somebody judges by, in a few bytes: what a node tells of itself, and what it is compared with.

import { hash } from "node:crypto";
import type { SecurityGroup } from "../kube/policy-objects.ts";

/** Groups share a cell by their names: an edit of one shows in its cell alone. */
const cells = 64;
const cellLenBytes = 3;

/** Characters of a mark: base64 of all cells. */
export const markLen = (cells * cellLenBytes * 4) / 3;

type MarkedGroup = Pick<SecurityGroup, "metadata">;

/** Objects of a cache stay the same ones until they change. */
const digests = new WeakMap<MarkedGroup, { cell: number; digest: Buffer }>();

/** The mark of these groups, in whatever order: of what each of them says, which its generation tells, and not of its status. */
export function groupsMark(groups: Iterable<MarkedGroup>): string {
  const mark = Buffer.alloc(cells * cellLenBytes);
  for (const group of groups) {
    const { cell, digest } = digestOf(group);
    for (const [at, byte] of digest.entries()) {
      const place = cell * cellLenBytes + at;
      mark[place] = (mark[place] ?? 0) ^ byte;
    }
  }
  return mark.toString("base64");
}

/** Whether both marks say the same of the group of that name; of others in its cell, too, so that it can be denied while they differ. */
export function agreeOn(name: string, one: string, other: string): boolean {
  const from = (cellOf(name) * cellLenBytes * 4) / 3;
  const cell = (mark: string): string => mark.slice(from, from + (cellLenBytes * 4) / 3);
  return one.length === markLen && other.length === markLen && cell(one) === cell(other);
}

function digestOf(group: MarkedGroup): { cell: number; digest: Buffer } {
  const known = digests.get(group);
  if (known !== undefined) return known;
  const { name, uid, generation } = group.metadata;
  const digest = hash("sha256", JSON.stringify([name, uid, generation]), "buffer").subarray(0, cellLenBytes);
  const made = { cell: cellOf(name), digest };
  digests.set(group, made);
  return made;
}

function cellOf(name: string): number {
  return (hash("sha256", name, "buffer")[0] ?? 0) % cells;
}

// A flood from inside a pod, by hammer.py: frames made beforehand, round after round.

import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type Program, startProgram } from "./programs.ts";

export interface Hammer extends Program {
  /** The round that has begun. */
  round: () => number;
}

export interface HammerWish {
  targets: readonly string[];
  kinds: readonly ("udp" | "tcp" | "icmp")[];
  /** Of UDP and TCP. */
  port: number;
  roundMs: number;
  /** Each round from a port of its own, which is 1024 and the round's number. */
  fresh: boolean;
}

/** Starts it; it ends with `t`, or when it is asked what it sent: JSON {rounds, sent}. */
export async function startHammer(
  t: Pick<TestContext, "after">,
  from: { netns: string; addresses: object },
  wish: HammerWish,
): Promise<Hammer> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-hammer-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const clock = join(directory, "clock");
  const file = openSync(clock, "w");
  ftruncateSync(file, 8);
  closeSync(file);
  const program = await startProgram(t, "hammer.py", { ...wish, own: from.addresses, clock }, from.netns);
  return { ...program, round: () => Number(readFileSync(clock).readBigUInt64LE()) };
}

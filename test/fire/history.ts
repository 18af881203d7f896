// What was said at which time, and whether traffic followed: each packet is held against every word that could have been in force when it was sent.

import type { Flow, Traffic } from "./traffic.ts";

/** Something that was said. */
export interface Word {
  /** When it began to be written, and when that was done; ms of CLOCK_MONOTONIC. */
  fromMs: number;
  doneMs: number;
  passes: (flow: Pick<Flow, "from" | "to" | "family">) => boolean;
}

export interface Findings {
  /** Packets that every word in force let pass, and that did not come: "always > db1 over IPv4: 3 of 1200". */
  lost: string[];
  /** Packets that every word in force denied, and that came. */
  passed: string[];
  /** By flow, how many packets were sure to pass and to be denied. */
  sure: Map<string, { pass: number; deny: number }>;
  /** For each change of a flow's verdict, the time from when it was written until the last packet that did not follow. */
  followedMs: number[];
}

export const titleOf = ({ from, to, family }: Pick<Flow, "from" | "to" | "family">): string =>
  `${from} > ${to} over IPv${family}`;

/** Holds all of it together; a word is in force at the latest `delayMs` after it was written, and no more when the next one is. */
export function judgeHistory(words: readonly Word[], traffic: Traffic, delayMs: number): Findings {
  const findings: Findings = { lost: [], passed: [], sure: new Map(), followedMs: [] };
  for (const flow of traffic.flows) {
    const said = wordsOf(words, flow);
    const [lost, passed] = [
      [0, 0],
      [0, 0],
    ] as [[number, number], [number, number]];
    for (let round = flow.first; round < flow.last; round += 1) {
      const sentMs = [traffic.times[round] ?? 0, traffic.times[round + 1] ?? 0] as const;
      const mayPass = verdictsAt(said, sentMs, delayMs);
      if (mayPass.size !== 1) continue;
      const counted = mayPass.has(true) ? lost : passed;
      counted[1] += 1;
      if (flow.came.has(round) !== mayPass.has(true)) counted[0] += 1;
    }
    findings.sure.set(titleOf(flow), { pass: lost[1], deny: passed[1] });
    if (lost[0] > 0) findings.lost.push(`${titleOf(flow)}: ${lost[0]} of ${lost[1]}`);
    if (passed[0] > 0) findings.passed.push(`${titleOf(flow)}: ${passed[0]} of ${passed[1]}`);
    findings.followedMs.push(...followed(said, flow, traffic.times));
  }
  return findings;
}

/** What was said of one flow: words that say the same again are one. */
interface Said {
  passes: boolean;
  fromMs: number;
  doneMs: number;
}

function wordsOf(words: readonly Word[], flow: Flow): Said[] {
  const said: Said[] = [];
  for (const { fromMs, doneMs, passes } of words) {
    const now = passes(flow);
    if (said.at(-1)?.passes !== now) said.push({ passes: now, fromMs, doneMs });
  }
  return said;
}

/** What a packet that was sent in that time may have met. */
function verdictsAt(
  said: readonly Said[],
  [sentMs, latestMs]: readonly [number, number],
  delayMs: number,
): Set<boolean> {
  const inForce = said.filter(({ fromMs }, index) => {
    const next = said[index + 1];
    return fromMs <= latestMs && (next === undefined || next.doneMs + delayMs >= sentMs);
  });
  return new Set(inForce.map(({ passes }) => passes));
}

/** For each change, how long after it was written a packet still went by what was said before; 0 where none did. */
function followed(said: readonly Said[], flow: Flow, times: readonly number[]): number[] {
  return said.slice(1).map(({ passes, doneMs }, index) => {
    const endMs = said[index + 2]?.fromMs ?? Infinity;
    let lastMs = doneMs;
    for (let round = flow.first; round < flow.last; round += 1) {
      const [sentMs, latestMs] = [times[round] ?? 0, times[round + 1] ?? Infinity];
      if (sentMs >= doneMs && latestMs < endMs && flow.came.has(round) !== passes) lastMs = sentMs;
    }
    return lastMs - doneMs;
  });
}

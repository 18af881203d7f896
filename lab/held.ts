// Connections that a scenario holds open, and what became of each: a program of its own per connection, which tells by its log.

import { readFileSync } from "node:fs";
import { present } from "../src/base/assert.ts";
import { Fault, isFault } from "../src/base/fault.ts";
import type { NamedPair } from "./actions.ts";
import { type Daemon, startDaemon } from "./daemon.ts";
import type { Family } from "./layout.ts";
import { type Endpoint, probeProgram } from "./probing.ts";
import type { Lab } from "./record.ts";
import { all, until } from "./waiting.ts";

const heldMax = 32;
const openWithinMs = 30_000;
/** As many exchanges more show that a connection lives. */
const echoesShown = 5;
const echoesWithinMs = 10_000;

export interface HeldConnections {
  /** Opens one in each family that both ends have; settles when a byte has come back over each. */
  hold(from: Endpoint, to: Endpoint, port?: number): Promise<void>;
  /** Something is about to be changed: cuts are counted from here. */
  changed(): void;
  /** Gives what is wrong, and a word on what was seen. */
  goesOn(pair: NamedPair): Promise<Outcome>;
  /** The caller is told by a reset within `withinMs` after the last change. */
  isReset(pair: NamedPair, withinMs: number): Promise<Outcome>;
}

export interface Outcome {
  problems: string[];
  how: string;
}

interface Held {
  pair: NamedPair;
  family: Family;
  daemon: Daemon;
}

interface Story {
  /** When a byte came back, in ms since 1970. */
  echoesMs: number[];
  cut?: { atMs: number; words: string };
}

/** None yet. */
export function createHeldConnections(lab: Lab): HeldConnections {
  const held: Held[] = [];
  let changedMs = Date.now();

  const of = ({ from, to }: NamedPair): Held[] => {
    const found = held.filter(({ pair }) => pair.from === from && pair.to === to);
    if (found.length === 0) throw new Fault("bug", `no connection from ${from} to ${to}`);
    return found;
  };
  const open = async (from: Endpoint, to: Endpoint, family: Family, port: number): Promise<Held> => {
    if (held.length >= heldMax) throw new Fault("lab-failed", `a lab holds at most ${heldMax} connections`);
    const name = `connection ${from.name} ${to.name} v${family}`;
    const daemon = await startDaemon(lab, {
      name,
      netns: from.netns,
      program: process.execPath,
      args: [probeProgram, "hold", present(to.addresses[family], "address"), String(port)],
      logFile: `${lab.directory}/held-${held.length}-v${family}.log`,
      tellsReady: true,
    });
    await daemon.untilReady(openWithinMs);
    return { pair: { from: from.name, to: to.name }, family, daemon };
  };

  return {
    hold: async (from, to, port = to.port) => {
      const families = ([4, 6] as const).filter((family) => from.addresses[family] && to.addresses[family]);
      held.push(...(await all(families.map((family) => open(from, to, family, port)))));
    },
    changed: () => {
      changedMs = Date.now();
    },
    goesOn: async (pair) => gather(await all(of(pair).map((one) => lives(one, changedMs)))),
    isReset: async (pair, withinMs) => gather(await all(of(pair).map((one) => wasReset(one, changedMs, withinMs)))),
  };
}

function gather(outcomes: readonly Outcome[]): Outcome {
  return { problems: outcomes.flatMap(({ problems }) => problems), how: outcomes.map(({ how }) => how).join(", ") };
}

async function lives({ family, daemon }: Held, changedMs: number): Promise<Outcome> {
  const before = readStory(daemon.logFile).echoesMs.length;
  let story: Story = { echoesMs: [] };
  const ask = async (): Promise<string | undefined> => {
    story = readStory(daemon.logFile);
    if (story.cut !== undefined) return undefined;
    const more = story.echoesMs.length - before;
    return more >= echoesShown ? undefined : `${more} bytes came back`;
  };
  const silent = await untilOrWhy(ask, echoesWithinMs);
  const { cut, echoesMs } = story;
  const problem =
    cut === undefined
      ? silent && `it is open, and within ${echoesWithinMs / 1000} s ${silent}`
      : `it was cut ${cut.atMs - changedMs} ms after the last change: ${cut.words}`;
  return {
    problems: problem === undefined ? [] : [`v${family}: ${problem}`],
    how: `v${family}: ${echoesMs.length} bytes to and fro, longest pause ${longestPauseMs(echoesMs, changedMs)} ms`,
  };
}

async function wasReset({ family, daemon }: Held, changedMs: number, withinMs: number): Promise<Outcome> {
  const leftMs = Math.max(0, changedMs + withinMs - Date.now());
  await untilOrWhy(async () => (readStory(daemon.logFile).cut === undefined ? "open" : undefined), leftMs);
  const { cut, echoesMs } = readStory(daemon.logFile);
  const lastMs = (echoesMs.at(-1) ?? 0) - changedMs;
  if (cut === undefined) {
    const silent = `the last byte came back ${lastMs} ms after the last change`;
    return { problems: [`v${family}: it is still open after ${withinMs} ms; ${silent}`], how: "" };
  }
  const afterMs = cut.atMs - changedMs;
  const how = `v${family}: last byte after ${lastMs} ms, reset after ${afterMs} ms`;
  if (cut.words !== "ECONNRESET") return { problems: [`v${family}: it was not reset but ended so: ${cut.words}`], how };
  if (afterMs < 0) return { problems: [`v${family}: it was reset ${-afterMs} ms before the last change`], how };
  return { problems: afterMs > withinMs ? [`v${family}: it was reset after ${afterMs} ms only`] : [], how };
}

/** Gives the last answer where the time is up. */
async function untilOrWhy(ask: () => Promise<string | undefined>, withinMs: number): Promise<string | undefined> {
  let why: string | undefined;
  const asked = async (): Promise<string | undefined> => (why = await ask());
  await until(asked, { what: "held connection", withinMs }).catch((error: unknown) => {
    if (why === undefined || !isFault(error, "lab-failed")) throw error;
  });
  return why;
}

/** Between two bytes that came back since `sinceMs`. */
function longestPauseMs(echoesMs: readonly number[], sinceMs: number): number {
  const pauses = echoesMs.map((at, index) => (at < sinceMs ? 0 : at - (echoesMs[index - 1] ?? at)));
  return Math.max(0, ...pauses);
}

function readStory(logFile: string): Story {
  const story: Story = { echoesMs: [] };
  for (const line of readFileSync(logFile, "utf8").split("\n")) {
    const { at, what, words = "" } = /^(?<at>\d+) (?<what>echo|cut)(?: (?<words>.*))?$/.exec(line)?.groups ?? {};
    if (what === "echo") story.echoesMs.push(Number(at));
    if (what === "cut") story.cut = { atMs: Number(at), words };
  }
  return story;
}

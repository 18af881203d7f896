// The typed face of spawn.c: one process in a node's namespace that runs plugins for us and times each from start to end.

import { readFileSync } from "node:fs";
import { Fault } from "../src/base/fault.ts";
import type { Lab } from "../lab/record.ts";
import { startChild } from "./child.ts";

const program = "bench-spawn";

export interface Invocation {
  /** The program's path and its arguments. */
  argv: readonly [string, ...string[]];
  /** Its whole environment. */
  env: Readonly<Record<string, string>>;
  /** File that it reads as standard input; nothing if absent. */
  stdinFile?: string;
}

export interface Run {
  /** Exit code, or 128 + the signal that ended it. */
  exit: number;
  /** From just before it was started until it was reaped. */
  ms: number;
  stdout: string;
}

/** What a cycle of pairs came to. */
export interface Cycled {
  /** Milliseconds of each run of a first program, and of a second one. */
  first: number[];
  second: number[];
  /** How many ended with another code than 0. */
  failed: number;
  /** From the start of the first until the end of the last. */
  ms: number;
}

/** Most programs of one burst or cycle; spawn.c has the same number. */
export const keptMax = 512;

/** Calls must not overlap. All throw Fault "lab-failed" where a program cannot be started. */
export interface Spawner {
  /** Runs one program to its end. */
  run(invocation: Invocation): Promise<Run>;
  /** Runs all of them at once; the time of each begins with that of the first. */
  burst(invocations: readonly Invocation[]): Promise<Run[]>;
  /** Runs `atATime` of the pairs beside each other, each its second program after its first, round and round for that time. */
  cycle(pairs: readonly (readonly [Invocation, Invocation])[], atATime: number, ms: number): Promise<Cycled>;
  /** Ends the spawner; doing so twice is no error. */
  end(): void;
}

/** Starts a spawner in `netns`; its programs' output goes through `directory`, like a runtime's over a file. */
export function startSpawner(lab: Lab, netns: string, directory: string): Spawner {
  const child = startChild(lab, netns, program);
  const stdoutFile = (at: number): string => `${directory}/stdout-${at}`;
  /** The numbers of one line of answer. */
  const told = async (): Promise<{ exit: number; ms: number; at?: number }> => {
    const [, exit, ns, at] = /^(\d+) (\d+)(?: (\d+))?$/.exec(await child.next()) ?? [];
    if (exit === undefined)
      throw new Fault("lab-failed", `${program} ended while it ran programs; its words are above`);
    return { exit: Number(exit), ms: Number(ns) / 1e6, ...(at === undefined ? {} : { at: Number(at) }) };
  };
  const runAt = async (at: number): Promise<Run> => {
    const { exit, ms } = await told();
    return { exit, ms, stdout: readFileSync(stdoutFile(at), "utf8") };
  };
  const keep = (invocation: Invocation, at: number): string[] => [...linesOf(invocation, stdoutFile(at)), "keep -"];

  return {
    run: (invocation) => {
      child.say([...linesOf(invocation, stdoutFile(0)), "go"]);
      return runAt(0);
    },
    burst: async (invocations) => {
      child.say([...invocations.flatMap(keep), "burst -"]);
      const runs: Run[] = [];
      for (const at of invocations.keys()) runs.push(await runAt(at));
      return runs;
    },
    cycle: async (pairs, atATime, ms) => {
      child.say([...pairs.flat().flatMap(keep), `cycle ${atATime} ${ms}`]);
      const cycled: Cycled = { first: [], second: [], failed: 0, ms: 0 };
      let run = await told();
      for (; run.at !== undefined; run = await told()) {
        (run.at % 2 === 0 ? cycled.first : cycled.second).push(run.ms);
        if (run.exit !== 0) cycled.failed += 1;
      }
      return { ...cycled, ms: run.ms };
    },
    end: () => child.end(),
  };
}

function linesOf({ argv, env, stdinFile }: Invocation, stdoutFile: string): string[] {
  return [
    ...argv.map((text) => `arg ${text}`),
    ...Object.entries(env).map(([name, value]) => `env ${name}=${value}`),
    ...(stdinFile === undefined ? [] : [`in ${stdinFile}`]),
    `out ${stdoutFile}`,
  ];
}

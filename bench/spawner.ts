// The typed face of spawn.c: one process in a node's namespace that runs plugins for us and times each from start to end.

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Fault } from "../src/base/fault.ts";
import { inNetns } from "../lab/exec.ts";
import type { Lab } from "../lab/record.ts";

const program = fileURLToPath(new URL("../build/bench-spawn", import.meta.url));

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

export interface Spawner {
  /** Runs one program to its end. Calls must not overlap. @throws Fault "lab-failed" where it cannot be started. */
  run(invocation: Invocation): Promise<Run>;
  /** Ends the spawner; doing so twice is no error. */
  end(): void;
}

/** Starts a spawner in `netns`; its programs' output goes through `directory`, like a runtime's over a file. */
export function startSpawner(lab: Lab, netns: string, directory: string): Spawner {
  const [file, args] = inNetns(netns, program, []);
  // A session of its own: ^C ends a measurement between two programs, not in the middle of one. The lab's token marks it for removal.
  const child = spawn(file, args, { env: lab.env, stdio: ["pipe", "pipe", "inherit"], detached: true });
  const answers = readAnswers(child);
  const stdoutFile = `${directory}/stdout`;

  return {
    run: async ({ argv, env, stdinFile }) => {
      const lines = [
        ...argv.map((text) => `arg ${text}`),
        ...Object.entries(env).map(([name, value]) => `env ${name}=${value}`),
        ...(stdinFile === undefined ? [] : [`in ${stdinFile}`]),
        `out ${stdoutFile}`,
        "go",
      ];
      const broken = lines.find((line) => line.includes("\n"));
      if (broken !== undefined) throw new Fault("bug", `a line break in ${JSON.stringify(broken)}`);
      child.stdin.write(`${lines.join("\n")}\n`);
      const answer = await answers.next();
      const [, exit, ns] = /^(\d+) (\d+)$/.exec(answer) ?? [];
      if (exit === undefined)
        throw new Fault("lab-failed", `${program} ended while it ran ${argv[0]}; its words are above`);
      return { exit: Number(exit), ms: Number(ns) / 1e6, stdout: readFileSync(stdoutFile, "utf8") };
    },
    end: () => child.stdin.end(),
  };
}

/** Gives the child's lines one by one, and "" once it has ended or could not be started. */
function readAnswers(child: ChildProcessByStdio<Writable, Readable, null>): { next(): Promise<string> } {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.on("error", () => child.stdout.destroy());
  child.stdin.on("error", () => {}); // it has ended: the missing answer says so
  return {
    next: async () => {
      const { done, value } = await lines.next();
      return done === true ? "" : value;
    },
  };
}

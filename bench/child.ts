// A C program of a bench that runs beside it in some namespace: lines in, lines out, ended by the end of its input.

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Fault } from "../src/base/fault.ts";
import { inNetns } from "../lab/exec.ts";
import type { Lab } from "../lab/record.ts";

export interface Child {
  /** @throws Fault "bug" where one of them is more than one line */
  say(lines: readonly string[]): void;
  /** The next line; "" once the program has ended or could not be started. */
  next(): Promise<string>;
  /** Ends it; doing so twice is no error. */
  end(): void;
}

/** Starts `build/PROGRAM` in `netns`. */
export function startChild(lab: Pick<Lab, "env">, netns: string, program: string, args: readonly string[] = []): Child {
  const path = fileURLToPath(new URL(`../build/${program}`, import.meta.url));
  const [file, argv] = inNetns(netns, path, args);
  // A session of its own: ^C ends a measurement between two programs, not in the middle of one. The lab's token marks it for removal.
  const child = spawn(file, argv, { env: lab.env, stdio: ["pipe", "pipe", "inherit"], detached: true });
  const next = readLines(child);
  return {
    say: (lines) => {
      const broken = lines.find((line) => line.includes("\n"));
      if (broken !== undefined) throw new Fault("bug", `a line break in ${JSON.stringify(broken)}`);
      child.stdin.write(`${lines.join("\n")}\n`);
    },
    next,
    end: () => child.stdin.end(),
  };
}

function readLines(child: ChildProcessByStdio<Writable, Readable, null>): () => Promise<string> {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.on("error", () => child.stdout.destroy());
  child.stdin.on("error", () => {}); // it has ended: the missing answer says so
  return async () => {
    const { done, value } = await lines.next();
    return done === true ? "" : value;
  };
}

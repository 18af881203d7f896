// The programs that send and count packets while something is proved: started, spoken to, and asked in the end for what they saw.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

export interface Program {
  say: (line: string) => void;
  /** Ends its input, and gives what it says in the end, which is JSON. @throws where it ended before, or says something else */
  end: () => Promise<unknown>;
}

/** Starts a Python program of this folder with one argument as JSON, in a namespace if one is named; it is ready on return. It ends with `t`, or with its input. */
export async function startProgram(
  t: Pick<TestContext, "after">,
  file: string,
  wish: object,
  netns?: string,
): Promise<Program> {
  const command = ["python3", fileURLToPath(new URL(file, import.meta.url)), JSON.stringify(wish)];
  const [program = "", ...args] = netns === undefined ? command : ["ip", "netns", "exec", netns, ...command];
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  child.stdin.on("error", () => {}); // one that has ended says nothing in the end, which is told then
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const hear = async (): Promise<string> => {
    const { value, done } = await lines.next();
    return done === true ? assert.fail(`${file} has ended`) : value;
  };
  assert.equal(await hear(), "ready");
  return {
    say: (line) => void child.stdin.write(`${line}\n`),
    end: () => {
      child.stdin.end();
      return hear().then((line): unknown => JSON.parse(line));
    },
  };
}

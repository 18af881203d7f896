// A namespace read by iproute2 as often as one likes: one process of it answers question after question, since starting one costs ten times as much.

import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export type Json = Record<string, unknown>;

export interface Reader {
  /** What `ip -N -d -j` answers to these words, such as "link show"; one question at a time, in their order. */
  ask(words: string): Promise<Json[]>;
  /** Tracked connections as the kernel lists them; undefined where this kernel has no such list. */
  connections(): string | undefined;
  close(): void;
}

/** Opens the namespace of that name. */
export function openReader(netns: string): Reader {
  const child = spawn("ip", ["-n", netns, "-N", "-d", "-j", "-force", "-batch", "-"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const waiting: { done: (answer: Json[]) => void; failed: (error: Error) => void }[] = [];
  const fail = (error: Error): void => {
    for (const { failed } of waiting.splice(0)) failed(error);
  };
  createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.done(JSON.parse(line) as Json[]));
  child.once("error", fail).once("close", () => fail(new Error(`ip -n ${netns} has ended`)));
  child.stdin.on("error", fail);
  return {
    ask: (words) =>
      new Promise((done, failed) => {
        waiting.push({ done, failed });
        child.stdin.write(`${words}\n`);
      }),
    connections: () => {
      // The process has gone into the namespace, and its files show that.
      const file = `/proc/${child.pid}/net/nf_conntrack`;
      return existsSync(file) ? readFileSync(file, "utf8") : undefined;
    },
    close: () => void child.stdin.end(),
  };
}

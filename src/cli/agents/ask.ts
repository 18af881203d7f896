// `fairlead ask`: questions to an agent as lines, a path a line in, its answer a line out. It runs in the agent's pod, for who asks from elsewhere.

import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { describe, Fault, isFault } from "../../base/fault.ts";
import type { AgentDoor } from "./door.ts";

/** A question is a path with a few words. */
const questionLenMax = 4096;
/** Such programs in one pod: each takes some 40 MB of what the agent's container may have. */
export const askersMax = 4;

/** What is written of one question. */
export type Line = { answer: unknown } | { fault: { code: "not-found" | "io-failure"; message: string } };

/**
 * Answers each line of `input` by what `door` says, one after the other, until there are no more.
 * @throws Fault "agent-busy" where others do so here already, as many as may
 */
export async function answerQuestions(
  door: AgentDoor,
  { input, print, proc = "/proc" }: { input: Readable; print: (text: string) => void; proc?: string },
): Promise<void> {
  const others = askersIn(proc);
  if (others >= askersMax)
    throw new Fault("agent-busy", `${others} others are asking this agent, as many as may at once; try again later`);
  for await (const path of createInterface({ input })) print(JSON.stringify(await lineFor(door, path)));
}

async function lineFor(door: AgentDoor, path: string): Promise<Line> {
  try {
    if (!path.startsWith("/") || path.length > questionLenMax)
      throw new Fault("io-failure", `a question is a path of at most ${questionLenMax} characters`);
    return { answer: await door.ask(path) };
  } catch (error) {
    if (!isFault(error)) throw error;
    const code = error.code === "not-found" ? error.code : "io-failure";
    return { fault: { code, message: describe(error) } };
  }
}

/** Other programs of this word that run here, by their command lines. */
function askersIn(proc: string): number {
  const asks = (pid: string): boolean => {
    try {
      const words = readFileSync(`${proc}/${pid}/cmdline`, "utf8").split("\0");
      const at = words.findIndex((word) => word.endsWith("/src/main.ts"));
      return at >= 0 && words[at + 1] === "ask";
    } catch {
      return false; // it has ended
    }
  };
  return readdirSync(proc).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && asks(name)).length;
}

// The other end of `fairlead ask`: questions to a program somewhere that reads lines and writes lines.

import { z } from "zod";
import { Fault } from "../../base/fault.ts";
import { within } from "../../base/pause.ts";
import { readAnswer } from "../answers.ts";

/** Longest answer, in characters: as long as one on the socket, quoted. */
const answerLenMax = 32 * 1024 * 1024;
/** A program has to start in the pod, and the agent answers from memory. */
const answerWaitMs = 20_000;
/** What a program that ends says of it, in characters. */
const lastWordsLenMax = 500;

const lineSchema = z.union([
  z.object({ answer: z.unknown() }),
  z.object({ fault: z.object({ code: z.enum(["not-found", "io-failure"]), message: z.string() }) }),
]);
type Line = z.output<typeof lineSchema>;

/** The other end: a program somewhere that reads lines and writes lines. */
export interface Talk {
  /** Asks, and gives the answer. @throws Fault as of `AgentDoor` */
  ask(path: string): Promise<unknown>;
  /** To be told: what it wrote. */
  heard(text: string): void;
  complained(text: string): void;
  /** To be told: it is gone, and why if that is known. */
  ended(why?: string): void;
  isOver(): boolean;
}

interface Waiting {
  done: (line: Line) => void;
  failed: (error: unknown) => void;
}

/** `send` gives it a line; `place` says where it is. */
export function createTalk(place: string, send: (line: string) => void): Talk {
  const waiting: Waiting[] = [];
  let parts: string[] = [];
  let partsLen = 0;
  let lastWords = "";
  let over: Fault | undefined;

  const end = (fault: Fault): void => {
    over ??= fault;
    for (const { failed } of waiting.splice(0)) failed(over);
  };

  const take = (text: string): void => {
    const next = waiting.shift();
    try {
      const line = readAnswer(lineSchema, JSON.parse(text));
      next?.done(line);
    } catch (cause) {
      next?.failed(new Fault("io-failure", `${place} wrote something else than an answer`, { cause }));
    }
  };

  return {
    ask: async (path) => {
      if (over !== undefined) throw over;
      const answered = new Promise<Line>((done, failed) => waiting.push({ done, failed }));
      send(`${path}\n`);
      // Answers come in the order of their questions: after one that does not come, no other can be told.
      if (!(await within(answerWaitMs, answered)))
        end(new Fault("io-failure", `${place} gave no answer within ${answerWaitMs / 1000} s`));
      const line = await answered;
      if ("fault" in line) throw new Fault(line.fault.code, line.fault.message);
      return line.answer;
    },
    heard: (text) => {
      const [first = "", ...rest] = text.split("\n");
      parts.push(first);
      partsLen += first.length;
      for (const next of rest) {
        take(parts.join(""));
        parts = [next];
        partsLen = next.length;
      }
      if (partsLen > answerLenMax) {
        parts = [];
        end(new Fault("io-failure", `${place} wrote an answer of more than ${answerLenMax} characters`));
      }
    },
    complained: (text) => {
      lastWords = `${lastWords}${text}`.slice(0, lastWordsLenMax);
    },
    ended: (why = "it ended") => {
      const words = lastWords.trim().split("\n").at(0) ?? "";
      end(new Fault("io-failure", `${place} cannot be asked: ${words === "" ? why : words}`));
    },
    isOver: () => over !== undefined,
  };
}

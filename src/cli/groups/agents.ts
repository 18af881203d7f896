// What the agents that can be asked have counted: denials by layer, hits by rule; and which nodes were not asked.

import { z } from "zod";
import { describe, isFault } from "../../base/fault.ts";
import type { AgentDoor } from "../agents/door.ts";
import { readAnswer } from "../answers.ts";

/** Agents that are asked at once: for each of them a program may be started. */
const askedAtOnceMax = 32;

const policyAnswer = z.object({
  node: z.string(),
  layers: z.array(
    z.object({
      kind: z.string(),
      direction: z.string(),
      objects: z.array(z.string()),
      otherwise: z.string(),
      packets: z.number(),
    }),
  ),
  rules: z.array(z.object({ rule: z.string(), min: z.number(), max: z.number() })),
  more: z.number(),
});

/** What one agent has counted. */
export type Counted = z.output<typeof policyAnswer>;

export interface Asked {
  counted: readonly Counted[];
  /** Why an agent told nothing, for people. */
  silent: readonly string[];
}

/** Asks the agents behind these doors, and closes them; who does not answer is told of, and no error. */
export async function askCounted(doors: readonly AgentDoor[]): Promise<Asked> {
  const told: (Counted | string)[] = [];
  for (let from = 0; from < doors.length; from += askedAtOnceMax) {
    const some = doors.slice(from, from + askedAtOnceMax);
    told.push(...(await Promise.all(some.map(askOne))));
  }
  return {
    counted: told.filter((one) => typeof one !== "string"),
    silent: told.filter((one) => typeof one === "string"),
  };
}

async function askOne(door: AgentDoor): Promise<Counted | string> {
  try {
    const answer = await door.ask("/policy");
    return answer === null ? `the agent at ${door.place} keeps no policy` : readAnswer(policyAnswer, answer);
  } catch (error) {
    if (!isFault(error)) throw error;
    return describe(error);
  } finally {
    door.close();
  }
}

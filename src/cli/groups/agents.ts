// What the agents that can be asked have counted: denials by layer, hits by rule; and which nodes were not asked.

import { z } from "zod";
import { describe, Fault, isFault } from "../../base/fault.ts";
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
  /** Why agents told nothing, for people. */
  silent: readonly string[];
}

/** Asks the agents behind these doors, and closes them; who does not answer is told of, and no error. */
export async function askCounted(doors: readonly AgentDoor[]): Promise<Asked> {
  const counted: Counted[] = [];
  const silent = new Set<string>();
  let isRefused = false;
  for (let from = 0; from < doors.length && !isRefused; from += askedAtOnceMax) {
    for (const one of await Promise.all(doors.slice(from, from + askedAtOnceMax).map(askOne))) {
      if (!(one instanceof Fault)) counted.push(one);
      else silent.add(describe(one));
      // Who may not ask one may ask none of them.
      isRefused ||= isFault(one, "kube-refused", "kube-unauthorized");
    }
  }
  return { counted, silent: [...silent] };
}

async function askOne(door: AgentDoor): Promise<Counted | Fault> {
  try {
    const answer = await door.ask("/policy");
    if (answer === null) return new Fault("not-found", `${door.place} keeps no policy`);
    return readAnswer(policyAnswer, answer);
  } catch (error) {
    if (!isFault(error)) throw error;
    return error;
  } finally {
    door.close();
  }
}

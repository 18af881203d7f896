// What the agents that can be asked have counted: denials by layer, hits by rule; and which nodes were not asked.

import { z } from "zod";
import { describe, isFault } from "../../base/fault.ts";
import { askAgent } from "../agent-client.ts";
import { readAnswer } from "../answers.ts";

/** Sockets that are asked at once. */
const askedAtOnceMax = 64;

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
  /** Why a socket told nothing, for people. */
  silent: readonly string[];
}

/** Asks the agents behind these sockets, the first `askedAtOnceMax`; who does not answer is told of, and no error. */
export async function askCounted(sockets: readonly string[]): Promise<Asked> {
  const asked = [...new Set(sockets)].slice(0, askedAtOnceMax);
  const settled = await Promise.all(asked.map(askOne));
  return {
    counted: settled.filter((one) => typeof one !== "string"),
    silent: settled.filter((one) => typeof one === "string"),
  };
}

async function askOne(socket: string): Promise<Counted | string> {
  try {
    const answer = await askAgent(socket, "/policy");
    return answer === null ? `the agent at ${socket} keeps no policy` : readAnswer(policyAnswer, answer);
  } catch (error) {
    if (!isFault(error)) throw error;
    return describe(error);
  }
}

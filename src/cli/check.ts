// `fairlead check`: the node examined by its agent, one line a finding, and one for its cure where it needs one.

import { describe, isFault } from "../base/fault.ts";
import { formatTable } from "../base/table.ts";
import { askAgent } from "./agent-client.ts";
import { checkAnswer, readAnswer } from "./answers.ts";

export interface CheckOutcome {
  text: string;
  /** False where anything is bad. */
  well: boolean;
}

const words = { ok: "ok", warn: "warning", bad: "BAD" } as const;

/** Gives the text to print, and whether the node is well. An agent that does not answer is a finding like any other. */
export async function checkNode({
  socket,
  output,
}: {
  socket: string;
  output: "table" | "json";
}): Promise<CheckOutcome> {
  const findings = await askAgent(socket, "/check").then(
    (answer) => readAnswer(checkAnswer, answer),
    (error: unknown) => {
      if (!isFault(error, "not-found", "io-failure")) throw error;
      const cure = "start the agent on this node and look at its log; run this as root";
      return [{ name: "agent", state: "bad" as const, says: describe(error), cure }];
    },
  );
  const well = findings.every(({ state }) => state !== "bad");
  if (output === "json") return { text: JSON.stringify(findings, null, 2), well };
  const rows = findings.flatMap(({ name, state, says, cure }) => [
    [words[state], name, says],
    ...(cure === undefined ? [] : [["", "", `cure: ${cure}`]]),
  ]);
  return { text: formatTable(["STATE", "WHAT", "FINDING"], rows), well };
}

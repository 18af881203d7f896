// What a node's agent tells of denied flows, asked as an operator on that node does: by `fairlead flows`.

import { fileURLToPath } from "node:url";
import { z } from "zod";
import { execOk } from "./exec.ts";
import { readJson } from "./json.ts";

const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));
const answersWithinMs = 15_000;

const end = z.object({ address: z.string(), pod: z.string().optional() });
const flowSchema = z.object({
  outcome: z.string(),
  source: end,
  destination: end,
  objects: z.array(z.string()),
});

/** Who was denied what, and by which object: a pod by "namespace/name", another end by one of its addresses. */
export interface ToldFlow {
  from: readonly string[];
  to: readonly string[];
  object: string;
}

export interface TellingNode {
  env: Readonly<Record<string, string>>;
  netns: string;
  /** Of the node: its agent's sockets lie there. */
  directory: string;
}

/** What is missing, one line; none where the node's agent tells that flow as denied. @throws Fault "lab-failed" where it cannot be asked */
export async function lookAtTold(
  { from, to, object }: ToldFlow,
  { env, netns, directory }: TellingNode,
): Promise<string[]> {
  const args = ["flows", "--denied", "-o", "json", "--socket", `${directory}/status.sock`];
  const output = await execOk(fairlead, args, { env, netns, timeoutMs: answersWithinMs });
  const told = output
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => readJson(flowSchema, line, "a line of fairlead flows"));
  const is = ({ address, pod }: z.output<typeof end>, names: readonly string[]): boolean =>
    names.includes(address) || (pod !== undefined && names.includes(pod));
  const found = told.some(
    ({ outcome, source, destination, objects }) =>
      outcome === "denied" && is(source, from) && is(destination, to) && objects.includes(object),
  );
  return found
    ? []
    : [`no denial of ${from[0]} to ${to[0]} by ${object} among the ${told.length} that fairlead flows tells`];
}

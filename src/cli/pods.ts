// `fairlead pods`: the attachments of one node.

import { formatTable } from "../base/table.ts";
import { askAgent } from "./agent-client.ts";
import { podsAnswer, readAnswer } from "./answers.ts";
import { formatAge } from "./age.ts";

/** Container ids are 64 digits; as many as people compare. */
const containerIdShown = 12;

/** Gives the text to print. @throws Fault where no agent answers. */
export async function showPods({ socket, output }: { socket: string; output: "table" | "json" }): Promise<string> {
  const answer = await askAgent(socket, "/pods");
  if (output === "json") return JSON.stringify(answer, null, 2);
  const pods = readAnswer(podsAnswer, answer);
  if (pods.length === 0) return "no pods are attached on this node";
  const rows = pods.map(({ pod, containerId, ifname, addresses, wire, state, createdMs }) => [
    pod === undefined ? "-" : `${pod.namespace}/${pod.name}`,
    containerId.slice(0, containerIdShown),
    ifname,
    addresses.join(" "),
    wire?.hostLink ?? "another plugin's",
    state,
    formatAge((Date.now() - createdMs) / 1000),
  ]);
  return formatTable(["POD", "CONTAINER", "INTERFACE", "ADDRESSES", "HOST LINK", "STATE", "AGE"], rows);
}

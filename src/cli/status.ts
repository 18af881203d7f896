// `fairlead status`: one node at a glance.

import type { z } from "zod";
import { Fault, isFault } from "../base/fault.ts";
import { formatTable } from "../base/table.ts";
import { askAgent } from "./agent-client.ts";
import { readAnswer, statusAnswer, waitingAnswer } from "./answers.ts";
import { formatAge } from "./age.ts";

export interface NodeStatusOptions {
  socket: string;
  output: "table" | "json";
  /** Said where no agent is there: what else could have been meant. */
  other?: string | undefined;
}

/** Gives the text to print. @throws Fault where no agent answers. */
export async function showStatus({ socket, output, other }: NodeStatusOptions): Promise<string> {
  const answer = await askAgent(socket, "/status").catch((error: unknown) => {
    if (!isFault(error, "not-found") || other === undefined) throw error;
    throw new Fault("not-found", `${error.message}; ${other}`);
  });
  if (output === "json") return JSON.stringify(answer, null, 2);
  const waiting = waitingAnswer.safeParse(answer);
  if (waiting.success) {
    const { node, version, upSeconds, waitsFor } = waiting.data;
    return `node ${node}, fairlead ${version}, up ${formatAge(upSeconds)}\nno pod can be attached yet; it waits for ${waitsFor}`;
  }
  const status = readAnswer(statusAnswer, answer);
  const { uplink, attachments, calls } = status;
  return [
    `node ${status.node}, fairlead ${status.version}, up ${formatAge(status.upSeconds)}`,
    `uplink ${uplink.name}, MTU ${uplink.mtu}, ${uplink.addresses.join(" ")}`,
    `${attachments.ready} attachments ready, ${attachments.planned} in the making; ${calls.working} calls at work, ${calls.waiting} waiting`,
    "",
    formatTable(
      ["FAMILY", "BLOCKS", "ADDRESSES", "IN USE", "COOLING"],
      status.addresses.map(({ family, total, live, cooling }) => [
        `IPv${family}`,
        status.blocks.filter((block) => block.includes(":") === (family === 6)).join(" "),
        shortCount(total),
        String(live),
        String(cooling),
      ]),
    ),
    ...policyLines(status.policy),
    "",
    formatTable(
      ["LOOP", "PASSES", "FAILING", "LAST ERROR"],
      status.loops.map(({ name, passes, failures, lastError }) => [
        name,
        String(passes),
        failures === 0 ? "no" : `${failures} times`,
        lastError ?? "",
      ]),
    ),
  ].join("\n");
}

type PolicyAnswer = z.output<typeof statusAnswer>["policy"];

/** By whose word pods are judged where it is not the cluster's, and the classes of pods that something judges. */
function policyLines(policy: PolicyAnswer): string[] {
  if (policy === undefined) return [];
  const { by, classes } = policy;
  const word = { cluster: [], kept: ["", "policy is as it was kept: the cluster has not told yet"] }[by];
  const rows = classes.map(({ number, pods, layers }) => {
    const objectsOf = (direction: string): string =>
      layers
        .filter((layer) => layer.direction === direction)
        .map(({ objects, otherwise }) => `${objects.join(" + ")}${otherwise === "audit" ? " (audit)" : ""}`)
        .join("; ") || "open";
    return [String(number), String(pods), objectsOf("egress"), objectsOf("ingress")];
  });
  return [
    ...(word ?? ["", "it is not known yet who may talk to whom"]),
    ...(rows.length === 0 ? [] : ["", formatTable(["CLASS", "PODS", "EGRESS", "INGRESS"], rows)]),
  ];
}

/** Numbers beyond a million, as IPv6 blocks have them, rounded to a power of two. */
function shortCount(count: string): string {
  const value = BigInt(count);
  if (value < 1_000_000n) return count;
  return `about 2^${(value + 1n).toString(2).length - 1}`;
}

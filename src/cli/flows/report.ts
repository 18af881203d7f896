// What `fairlead flows` tells people: records of an agent's answer as lines, and what is not told one by one. Pure.

import { z } from "zod";
import { formatTable } from "../../base/table.ts";

const end = z.object({ address: z.string(), pod: z.string().optional(), node: z.string().optional() });

const flowRecord = z.object({
  number: z.number(),
  atMs: z.number(),
  outcome: z.string(),
  source: end,
  destination: end,
  protocol: z.string(),
  port: z.number().optional(),
  icmp: z.object({ type: z.number(), code: z.number() }).optional(),
  direction: z.string().optional(),
  layer: z.string().optional(),
  objects: z.array(z.string()),
  rules: z.array(z.string()),
  reason: z.string(),
  suppressed: z.number().optional(),
});

/** An agent's answer, as far as the tool reads it; `none`: it keeps no flow log, and says why. */
export const flowsAnswer = z.union([
  z.object({ none: z.string() }),
  z.object({
    node: z.string(),
    run: z.string(),
    newest: z.number(),
    records: z.array(z.looseObject(flowRecord.shape)),
    suppressed: z.array(z.object({ pod: z.string(), flows: z.number() })),
    lost: z.number(),
    unread: z.number(),
    failing: z.string().optional(),
  }),
]);

export type TellingAnswer = Exclude<z.output<typeof flowsAnswer>, { none: string }>;
export type ToldFlow = z.output<typeof flowRecord>;

const headings = ["TIME", "OUTCOME", "FROM", "TO", "TRAFFIC", "JUDGEMENT", "BY", "WHY"];
/** Pods that are named as ones of which not everything is told. */
const suppressedShownMax = 5;

/** The records as a table; `withNode`: with the node of which each is told. */
export function flowsTable(records: readonly (ToldFlow & { node: string })[], withNode: boolean): string {
  if (!withNode) return formatTable(headings, records.map(rowOf));
  const rows = records.map((record) => [record.node, ...rowOf(record)]);
  return formatTable(["NODE", ...headings], rows);
}

/** The same without headings, for what comes later. */
export function flowsLines(...told: Parameters<typeof flowsTable>): string {
  return flowsTable(...told)
    .split("\n")
    .slice(1)
    .join("\n");
}

function rowOf(flow: ToldFlow): string[] {
  const { atMs, outcome, source, destination, direction, layer, objects, rules, reason, suppressed = 0 } = flow;
  return [
    new Date(atMs).toISOString().slice(11, 23),
    outcome === "denied" ? "DENIED" : outcome,
    nameOf(source),
    nameOf(destination),
    trafficOf(flow),
    direction === undefined ? "-" : `${direction} ${layer ?? ""}`.trimEnd(),
    (rules.length > 0 ? rules : objects).join(", ") || "-",
    suppressed === 0 ? reason : `${reason} (and ${suppressed} more before it)`,
  ];
}

function nameOf({ address, pod, node }: ToldFlow["source"]): string {
  return pod ?? (node === undefined ? address : `node ${node} (${address})`);
}

function trafficOf({ protocol, port, icmp }: ToldFlow): string {
  if (icmp !== undefined) return `${protocol} type ${icmp.type} code ${icmp.code}`;
  return port === undefined ? protocol : `${protocol} ${port}`;
}

/** What an answer leaves out, a line each; none where it tells everything. */
export function leftOutLines({ suppressed, lost, unread, failing }: TellingAnswer): string[] {
  const named = suppressed
    .slice(0, suppressedShownMax)
    .map(({ pod, flows }) => `${pod === "" ? "others" : pod} ${flows}`);
  const more = suppressed.length - named.length;
  return [
    ...(failing === undefined ? [] : [`nothing new is heard of: ${failing}`]),
    ...(named.length === 0
      ? []
      : [
          `beyond what one pod may tell, since the agent's start: ${named.join(", ")}${more > 0 ? `, and ${more} pods more` : ""}`,
        ]),
    ...(lost === 0 ? [] : [`${lost} logged packets were lost on their way from the kernel`]),
    ...(unread === 0 ? [] : [`${unread} logged packets could not be read`]),
  ];
}

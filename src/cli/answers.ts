// What the agent answers on its read-only socket, as the tool reads it: checked, since agent and tool can differ in version.

import { z } from "zod";
import { describe, Fault } from "../base/fault.ts";

const family = z.union([z.literal(4), z.literal(6)]);

export const statusAnswer = z.object({
  node: z.string(),
  version: z.string(),
  upSeconds: z.number(),
  uplink: z.object({ name: z.string(), mtu: z.number(), addresses: z.array(z.string()) }),
  blocks: z.array(z.string()),
  addresses: z.array(z.object({ family, total: z.string(), live: z.number(), cooling: z.number() })),
  attachments: z.object({ ready: z.number(), planned: z.number() }),
  calls: z.object({ working: z.number(), waiting: z.number() }),
  loops: z.array(
    z.object({ name: z.string(), passes: z.number(), failures: z.number(), lastError: z.string().optional() }),
  ),
  policy: z
    .object({
      by: z.string(),
      classes: z.array(
        z.object({
          number: z.number(),
          pods: z.number(),
          layers: z.array(
            z.object({
              direction: z.string(),
              kind: z.string(),
              objects: z.array(z.string()),
              otherwise: z.string(),
            }),
          ),
        }),
      ),
    })
    .optional(),
});

/** Of an agent that cannot serve yet. */
export const waitingAnswer = z.object({
  node: z.string(),
  version: z.string(),
  upSeconds: z.number(),
  waitsFor: z.string(),
});

export const podsAnswer = z.array(
  z.object({
    network: z.string(),
    containerId: z.string(),
    ifname: z.string(),
    addresses: z.array(z.string()),
    netnsPath: z.string(),
    wire: z.object({ hostLink: z.string() }).optional(),
    state: z.string(),
    createdMs: z.number(),
    pod: z.object({ namespace: z.string(), name: z.string(), uid: z.string().optional() }).optional(),
  }),
);

export const checkAnswer = z.array(
  z.object({
    name: z.string(),
    state: z.enum(["ok", "warn", "bad"]),
    says: z.string(),
    cure: z.string().optional(),
  }),
);

/** Checks an answer. @throws Fault "io-failure" where it has another shape. */
export function readAnswer<S extends z.ZodType>(schema: S, answer: unknown): z.output<S> {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new Fault(
    "io-failure",
    `the agent's answer has an unknown shape; are agent and tool of one version? ${describe(parsed.error)}`,
  );
}

// What a running agent says of itself on its read-only socket: its attachments, and whether calls are under way.

import { request } from "node:http";
import { dirname, join } from "node:path";
import { z } from "zod";
import { Fault } from "../../src/base/fault.ts";
import { readJson } from "../json.ts";
import { type Living, livingOfRecord, recordSchema } from "./living.ts";

export interface AgentView {
  attachments: { state: "planned" | "ready"; living: Living }[];
  /** Calls at work or waiting. */
  calls: number;
}

/** An agent answers from memory. */
const answerWaitMs = 15_000;

const podsSchema = z.array(
  recordSchema
    .extend({ state: z.enum(["planned", "ready"]) })
    .transform((record) => ({ state: record.state, living: livingOfRecord(record) })),
);
const statusSchema = z.object({ calls: z.object({ working: z.int(), waiting: z.int() }) });

/** The read-only socket lies beside the one that serves the runtime. */
export function statusSocketOf(socket: string): string {
  return join(dirname(socket), "status.sock");
}

/** Asks the agent of the CNI socket `socket`. @throws Fault "lab-failed" where none answers, or not in words that are known */
export async function askAgent(socket: string): Promise<AgentView> {
  const socketPath = statusSocketOf(socket);
  const [pods, status] = await Promise.all([get(socketPath, "/pods"), get(socketPath, "/status")]);
  const { working, waiting } = readJson(statusSchema, status, `GET /status of ${socketPath}`).calls;
  return { attachments: readJson(podsSchema, pods, `GET /pods of ${socketPath}`), calls: working + waiting };
}

function get(socketPath: string, path: string): Promise<string> {
  return new Promise((done, failed) => {
    const fail = (cause: unknown): void =>
      failed(new Fault("lab-failed", `no answer to GET ${path} at ${socketPath}`, { cause }));
    // A connection of its own: one that was kept from an earlier look would answer though the socket is gone.
    const call = request({ socketPath, path, timeout: answerWaitMs, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.once("end", () => done(text));
      response.once("error", fail);
    });
    call.once("timeout", () => call.destroy(new Error(`not within ${answerWaitMs / 1000} s`)));
    call.once("error", fail);
    call.end();
  });
}

// Asking who reaches whom: wishes go to the servers that they start from, which try them all at once and tell how each went.

import { createConnection } from "node:net";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { type Daemon, startDaemon } from "./daemon.ts";
import { readJson } from "./json.ts";
import type { Addresses, Family } from "./layout.ts";
import type { Lab } from "./record.ts";
import { all } from "./waiting.ts";

export type Protocol = "tcp" | "udp" | "icmp";

/** One try, as the probe program reads it. */
export interface Probe {
  proto: Protocol;
  to: string;
  /** Not used by icmp. */
  port: number;
  timeoutMs: number;
  /** What TCP carries each way. */
  bytes: number;
  /** Nothing is to come back: it is given up when the others have had their time, whatever its bound. */
  silent?: boolean;
}

const answerSchema = z.object({
  /** Who answered. */
  name: z.string(),
  /** The source address that it saw. */
  seenFrom: z.string(),
});
export type Answer = z.output<typeof answerSchema>;

const resultSchema = z.object({
  ok: z.boolean(),
  ms: z.number(),
  error: z.string().optional(),
  ...answerSchema.partial().shape,
});
export type ProbeResult = z.output<typeof resultSchema>;

/** Something that runs an echo server and can be tried from: a container, or a machine for its kubelet and daemons. */
export interface Endpoint {
  name: string;
  netns: string;
  addresses: Addresses;
  port: number;
  /** Served on the loopback addresses only. */
  localPort: number;
  /** Served beside `port`. */
  ports: readonly number[];
}

/** "From here, try that": what is expected of the answer is the caller's affair. */
export interface Wish {
  from: Endpoint;
  to: Endpoint;
  family: Family;
  proto: Protocol;
  /** The target's own if absent. */
  port?: number;
  /** Try the target's loopback-only port at the loopback address. */
  local?: boolean;
  /** Nothing is to come back: silence is judged by how long the other tries take, a second at least. */
  silent?: boolean;
}

export interface Attempt extends Wish {
  result: ProbeResult;
}

/** The program that lives in pods. */
export const probeProgram = fileURLToPath(new URL("probe.ts", import.meta.url));
const serverReadyWithinMs = 60_000;
/** Beyond its probes' own bounds, time for a server to answer. */
const answerExtraMs = 30_000;
/** Silent tries last several times as long as the slowest of the others (lab/probe-tries.ts). */
const patience = 4;
const wishesMax = 10_000;

/** A whole TCP exchange carries this much each way: segments of full size must pass, not only handshakes. */
export const fullExchange = 16 * 1024;

const loopback: Record<Family, string> = { 4: "127.0.0.1", 6: "::1" };

/** Starts the echo server of `endpoint`; on return it answers. */
export async function startServer(lab: Lab, { name, netns, port, localPort, ports }: Endpoint): Promise<Daemon> {
  const server = await startDaemon(lab, {
    name: `server ${name}`,
    netns,
    program: process.execPath,
    args: [probeProgram, "serve", name, String(port), String(localPort), socketOf(lab, name), ...ports.map(String)],
    logFile: `${lab.directory}/server-${name}.log`,
    tellsReady: true,
  });
  await server.untilReady(serverReadyWithinMs);
  return server;
}

/** Where the server of that name takes tries. */
function socketOf(lab: Lab, name: string): string {
  return `${lab.directory}/tries-${name}.sock`;
}

export interface AttemptOptions {
  /** Bounds each try but silent ones. */
  timeoutMs: number;
  /** What TCP carries each way; `fullExchange` if absent. */
  bytes?: number;
}

/** Tries all wishes and gives each with its result, in their order; wishes from different servers are tried at the same time. */
export async function attempt(lab: Lab, wishes: readonly Wish[], options: AttemptOptions): Promise<Attempt[]> {
  if (wishes.length > wishesMax) throw new RangeError(`at most ${wishesMax} probes at once, not ${wishes.length}`);
  const results = new Map<Wish, ProbeResult>();
  await all(
    [...Map.groupBy(wishes, ({ from }) => from.name)].map(async ([name, own]) => {
      const found = await ask(
        lab,
        name,
        own.map((wish) => probeOf(wish, options)),
      );
      own.forEach((wish, index) => results.set(wish, present(found[index], `result ${index}`)));
    }),
  );
  return wishes.map((wish) => ({ ...wish, result: present(results.get(wish), "result") }));
}

function probeOf(wish: Wish, { timeoutMs, bytes = fullExchange }: AttemptOptions): Probe {
  const { to, family, proto, port = to.port, local = false, silent = false } = wish;
  const address = local ? loopback[family] : present(to.addresses[family], `IPv${family} address of ${to.name}`);
  const common = { proto, timeoutMs, bytes, ...(silent ? { silent } : {}) };
  return { ...common, to: address, port: local ? to.localPort : port };
}

async function ask(lab: Lab, name: string, probes: readonly Probe[]): Promise<ProbeResult[]> {
  const socket = createConnection(socketOf(lab, name));
  const longestMs = Math.max(0, ...probes.map(({ timeoutMs }) => timeoutMs));
  socket.setTimeout(longestMs * patience + answerExtraMs, () => socket.destroy(new Error("no answer in time")));
  try {
    socket.end(JSON.stringify(probes));
    const output = await text(socket);
    return readJson(z.array(resultSchema).length(probes.length), output, `answers of the server ${name}`);
  } catch (cause) {
    throw new Fault("lab-failed", `the server ${name} did not tell how its tries went`, { cause });
  }
}

// Asking who reaches whom: groups wishes by the namespace they start in, runs one probe program there, and reads the answers.

import { fileURLToPath } from "node:url";
import { z } from "zod";
import { present } from "../src/base/assert.ts";
import { type Daemon, startDaemon } from "./daemon.ts";
import { execOk } from "./exec.ts";
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
}

export interface Attempt extends Wish {
  result: ProbeResult;
}

/** The program that lives in pods. */
export const probeProgram = fileURLToPath(new URL("probe.ts", import.meta.url));
const serverReadyWithinMs = 10_000;
/** Probes that one program runs at once. */
export const probesAtOnceMax = 128;
/** Programs that run at once: one per source namespace, and few cores. */
const programsAtOnceMax = 8;
/** Beyond its probes' own bounds, time for a program to start and end. */
const programExtraMs = 15_000;
const wishesMax = 10_000;

const loopback: Record<Family, string> = { 4: "127.0.0.1", 6: "::1" };

/** Starts the echo server of `endpoint`; on return it answers. */
export async function startServer(lab: Lab, { name, netns, port, localPort, ports }: Endpoint): Promise<Daemon> {
  const server = await startDaemon(lab, {
    name: `server ${name}`,
    netns,
    program: process.execPath,
    args: [probeProgram, "serve", name, ...[port, localPort, ...ports].map(String)],
    logFile: `${lab.directory}/server-${name}.log`,
    tellsReady: true,
  });
  await server.untilReady(serverReadyWithinMs);
  return server;
}

/**
 * Tries all wishes and gives each with its result, in their order; wishes from different namespaces run at the same time.
 * `timeoutMs` bounds each try.
 */
export async function attempt(lab: Lab, wishes: readonly Wish[], timeoutMs: number): Promise<Attempt[]> {
  if (wishes.length > wishesMax) throw new RangeError(`at most ${wishesMax} probes at once, not ${wishes.length}`);
  const bySource = [...Map.groupBy(wishes, (wish) => wish.from.netns)];
  const attempts: Attempt[] = [];
  const worker = async (): Promise<void> => {
    for (let next = bySource.shift(); next !== undefined; next = bySource.shift()) {
      attempts.push(...(await attemptFrom(lab, next[0], next[1], timeoutMs)));
    }
  };
  await all(Array.from({ length: programsAtOnceMax }, worker));
  const order = new Map(wishes.map((wish, index) => [wishKey(wish), index]));
  return attempts.toSorted((a, b) => (order.get(wishKey(a)) ?? 0) - (order.get(wishKey(b)) ?? 0));
}

async function attemptFrom(lab: Lab, netns: string, wishes: readonly Wish[], timeoutMs: number): Promise<Attempt[]> {
  const probes = wishes.map((wish): Probe => {
    const { to, family, proto, port = to.port, local = false } = wish;
    const address = local ? loopback[family] : present(to.addresses[family], `IPv${family} address of ${to.name}`);
    return { proto, to: address, port: local ? to.localPort : port, timeoutMs };
  });
  const roundsMax = Math.ceil(probes.length / probesAtOnceMax);
  const output = await execOk(process.execPath, [probeProgram, "run"], {
    env: lab.env,
    netns,
    input: JSON.stringify(probes),
    timeoutMs: roundsMax * (timeoutMs + 1_000) + programExtraMs,
  });
  const results = readJson(z.array(resultSchema).length(probes.length), output, `answers from ${netns}`);
  return wishes.map((wish, index) => ({ ...wish, result: present(results[index], `result ${index}`) }));
}

function wishKey({ from, to, family, proto, port, local }: Wish): string {
  return [from.name, to.name, family, proto, port, local].join(" ");
}

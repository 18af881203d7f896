// The typed face of traffic.c: a server in one namespace, a caller in another that counts what it gets through in a given time.

import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import type { Lab } from "../lab/record.ts";
import { type Child, startChild } from "./child.ts";

const program = "bench-traffic";

/** What a caller counts: connections, round trips over one connection, bytes over one connection. */
export const trafficKinds = ["crr", "rr", "stream"] as const;
export type TrafficKind = (typeof trafficKinds)[number];

export interface Caller {
  /** How many in a second, counted for so long. @throws Fault "lab-failed" where it could not be done */
  rate(kind: TrafficKind, address: string, port: number, ms: number): Promise<number>;
  end(): void;
}

/** Answers at `port` in that namespace, by TCP and UDP, until it is ended. */
export async function startTrafficServer(lab: Pick<Lab, "env">, netns: string, port: number): Promise<{ end(): void }> {
  const child = startChild(lab, netns, program, ["serve", String(port)]);
  await untilReady(child, netns);
  return child;
}

export async function startCaller(lab: Pick<Lab, "env">, netns: string): Promise<Caller> {
  const child = startChild(lab, netns, program, ["call"]);
  await untilReady(child, netns);
  return {
    rate: async (kind, address, port, ms) => {
      child.say([`${kind} ${address} ${port} ${ms}`]);
      const [, count, ns] = /^(\d+) (\d+)$/.exec(await child.next()) ?? [];
      if (count === undefined) throw new Fault("lab-failed", `${kind} from ${netns} to ${address} failed; see above`);
      return Number(count) / (Number(ns) / 1e9);
    },
    end: () => child.end(),
  };
}

export interface Knocked {
  address: string;
  /** "up": the first answer after silence, "down": the last one before it. */
  change: "up" | "down";
  /** When, by the clock of `nowMs`. */
  atMs: number;
}

/** A moment by CLOCK_MONOTONIC, which all programs of the machine share. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export interface Knocker {
  /** The next change. @throws Fault "lab-failed" where it has ended */
  next(): Promise<Knocked>;
  end(): void;
}

/** Sends each address a datagram every so often; none of them counts as reached before its first answer. */
export async function startKnocker(
  lab: Pick<Lab, "env">,
  netns: string,
  { addresses, port, everyMs }: { addresses: readonly string[]; port: number; everyMs: number },
): Promise<Knocker> {
  const child = startChild(lab, netns, program, ["knock", String(port), String(everyMs * 1000), ...addresses]);
  await untilReady(child, netns);
  return {
    next: async () => {
      const [, address, change, ns] = /^(\S+) (up|down) (\d+)$/.exec(await child.next()) ?? [];
      if (change !== "up" && change !== "down")
        throw new Fault("lab-failed", `what knocks from ${netns} ended; see above`);
      return { address: present(address, "an address"), change, atMs: Number(ns) / 1e6 };
    },
    end: () => child.end(),
  };
}

async function untilReady(child: Child, netns: string): Promise<void> {
  if ((await child.next()) !== "ready") throw new Fault("lab-failed", `${program} in ${netns} ended; see above`);
}

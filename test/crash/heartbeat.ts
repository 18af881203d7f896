// Pings to a pod that must not feel what happens around it: fifty a second, and not one may be lost.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { until } from "../until.ts";

const everySeconds = "0.02";

export interface Heartbeat {
  /** Settles when another answer has come. @throws where one has been lost since the beginning */
  beat(): Promise<void>;
  stop(): void;
}

/** Starts to ping `address` from the namespace at that path. */
export function startHeartbeat(netnsPath: string, address: string): Heartbeat {
  const child = spawn("nsenter", [`--net=${netnsPath}`, "ping", "-n", "-i", everySeconds, address], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lost: number[] = [];
  let last = 0;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const found = /icmp_seq=(\d+) .*time=/.exec(line);
    if (found === null) return;
    // Counted in 16 bits.
    const sequence = Number(found[1]);
    const expected = (last + 1) & 0xffff;
    if (sequence !== expected) lost.push(expected);
    last = sequence;
  });
  return {
    beat: async () => {
      const before = last;
      await until(`${address} answers`, () => last !== before);
      assert.deepEqual(lost, [], `pings to ${address} were lost`);
    },
    stop: () => void child.kill("SIGKILL"),
  };
}

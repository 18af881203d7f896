// The clock that no one sets: what has to last a certain time, over restarts of the agent too, is measured by it.

/**
 * Milliseconds since the machine was booted, those in which it slept left out: CLOCK_MONOTONIC, which is one for all processes
 * (clock_gettime(2)) and which `process.hrtime` reads on Linux.
 */
export function uptimeMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

// Waiting: the one place with a timer, so that every wait is bounded, can be woken and ends with its signal.

/**
 * Settles when `ms` have passed, when `signal` aborts, or when the function that `wakeable` is handed gets called,
 * whichever is first. Calling that function later, or twice, does nothing.
 */
export function pause(ms: number, signal: AbortSignal, wakeable?: (wake: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, Math.max(0, ms));
    signal.addEventListener("abort", end, { once: true });
    wakeable?.(end);
  });
}

/** Settles with `work`, or after `ms` without it; `work` goes on then. True if it was in time. */
export async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const inTime = new AbortController();
  try {
    return await Promise.race([work.then(() => true), pause(ms, inTime.signal).then(() => false)]);
  } finally {
    inTime.abort();
  }
}

/**
 * Gives a function to await between the pieces of long work on the event loop: where `sliceMs` have passed since the loop last
 * turned for it, it lets it turn once; else it costs next to nothing.
 */
export function createSlicer(sliceMs: number): () => Promise<void> {
  let startedMs = performance.now();
  return async () => {
    if (performance.now() - startedMs < sliceMs) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    startedMs = performance.now();
  };
}

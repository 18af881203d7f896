// Waiting in tests: for a condition, never for a time alone.

/** How long a condition may take before the test fails, and how often it is looked at. */
const waitMs = 10_000;
const lookEveryMs = 10;

/** Settles when `holds` gives true; throws naming `what` when it does not within 10 s. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + waitMs;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${waitMs} ms in vain: ${what}`);
    await new Promise((done) => setTimeout(done, lookEveryMs));
  }
}

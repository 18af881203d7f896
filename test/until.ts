// Waiting in tests: for a condition, never for a time alone.

/** How long a condition may take where nothing else is said, and how often it is looked at. */
const waitMs = 30_000;
const lookEveryMs = 10;

/** Settles when `holds` gives true; throws naming `what` when it does not within `withinMs`. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = waitMs): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${withinMs} ms in vain: ${what}`);
    await new Promise((done) => setTimeout(done, lookEveryMs));
  }
}

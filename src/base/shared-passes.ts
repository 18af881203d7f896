// Passes in turn: one at a time, shared by all who ask before the next one has begun.

export interface SharedPasses {
  /** A pass that begins after this call. */
  next: () => Promise<void>;
  /** Settles when the pass under way, if any, has ended, however it ended. */
  idle: () => Promise<unknown>;
  isBusy: () => boolean;
}

/** One pass at a time; all who ask before the next one has begun share it. */
export function createSharedPasses(pass: () => Promise<void>): SharedPasses {
  let running: Promise<unknown> = Promise.resolve();
  let waiting: Promise<void> | undefined;
  let busy = false;
  const begin = async (): Promise<void> => {
    waiting = undefined;
    busy = true;
    try {
      await pass();
    } finally {
      busy = false;
    }
  };
  return {
    next: () => {
      if (waiting !== undefined) return waiting;
      const next = running.then(begin);
      waiting = next;
      running = next.catch(() => undefined);
      return next;
    },
    idle: () => running,
    isBusy: () => busy,
  };
}

// Who may work when: calls for one container run one after the other, calls for different ones together, up to a bound.

import { Fault } from "../base/fault.ts";

/** ADDs and DELs at work at once. */
export const workersMax = 64;
/** Calls that wait behind them; one more is refused. */
export const queueLenMax = 512;

export interface Gate {
  /**
   * Runs `work` when every earlier call with the same key has ended and a worker is free.
   * @throws Fault "agent-busy" at once where the queue is full, "agent-stopping" once `close` was called.
   */
  run<T>(key: string, work: () => Promise<T>): Promise<T>;
  /** Refuses new calls and settles when those admitted have ended. */
  close(): Promise<void>;
  depth(): { working: number; waiting: number };
}

interface Waiting {
  key: string;
  start: () => void;
}

/** Makes a gate. The bounds are parameters for tests. */
export function createGate({ workers = workersMax, queueLen = queueLenMax } = {}): Gate {
  const busyKeys = new Set<string>();
  const waiting: Waiting[] = [];
  const drained = new Set<() => void>();
  let closed = false;

  // Strict order per key: the first waiting call whose key is idle goes next, and an earlier call of the same key is always before it in the list.
  const next = (): void => {
    while (busyKeys.size < workers) {
      const index = waiting.findIndex(({ key }) => !busyKeys.has(key));
      if (index < 0) break;
      const [call] = waiting.splice(index, 1);
      if (call === undefined) break;
      busyKeys.add(call.key);
      call.start();
    }
    if (closed && busyKeys.size === 0 && waiting.length === 0) for (const done of drained) done();
  };

  return {
    run: async (key, work) => {
      if (closed) throw new Fault("agent-stopping", "the agent is stopping; a new one takes over shortly, try again");
      if (waiting.length >= queueLen) {
        throw new Fault("agent-busy", `${queueLen} calls wait for this agent already; try again later`);
      }
      await new Promise<void>((start) => {
        waiting.push({ key, start });
        next();
      });
      try {
        return await work();
      } finally {
        busyKeys.delete(key);
        next();
      }
    },
    close: () => {
      closed = true;
      return new Promise((done) => {
        drained.add(done);
        next();
      });
    },
    depth: () => ({ working: busyKeys.size, waiting: waiting.length }),
  };
}

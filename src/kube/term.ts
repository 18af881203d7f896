// One term of a leader: a signal that is aborted from its deadline on, whoever looks at it and however late.

import { pause } from "../base/pause.ts";

export interface Term {
  /** `aborted` and `throwIfAborted` look at the monotonic clock, so they tell the truth before any timer has had its turn. */
  signal: AbortSignal;
  /** Moves the deadline, where the term is not over. Says whether it was not. */
  extend(deadlineMs: number): boolean;
  /** Ends the term now. */
  end(why: string): void;
}

/**
 * Begins a term that ends at `deadlineMs` on performance.now()'s clock unless it is extended.
 *
 * When an event loop has stalled, code that waited for an answer runs before timers do and would find a plain signal not aborted
 * yet. This one is asked through its clock: by `linkSignals`, and so by every call of the client, too. `AbortSignal.any` is not:
 * it sees the signal's inner state, which follows a turn later.
 */
export function startTerm(deadlineMs: number): Term {
  const controller = new AbortController();
  const { signal } = controller;
  const ended = new AbortController();
  let untilMs = deadlineMs;

  const end = (why: string): void => {
    if (ended.signal.aborted) return;
    ended.abort();
    controller.abort(new Error(why));
  };
  const isOver = (): boolean => {
    if (performance.now() >= untilMs) end("the lease could not be renewed in time");
    return ended.signal.aborted;
  };
  const watch = async (): Promise<void> => {
    while (!isOver()) await pause(untilMs - performance.now(), ended.signal);
  };

  Object.defineProperty(signal, "aborted", { get: isOver });
  Object.defineProperty(signal, "throwIfAborted", {
    value: () => {
      if (isOver()) throw signal.reason;
    },
  });
  void watch();
  return {
    signal,
    extend: (deadlineMs) => {
      if (isOver()) return false;
      untilMs = Math.max(untilMs, deadlineMs);
      return true;
    },
    end,
  };
}

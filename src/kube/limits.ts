// Every bound of the client, in one place: tests scale the times, nothing else changes them.

export interface Limits {
  /** Until a connection is there, TLS included. */
  connectMs: number;
  /** A connection takes no new call after that: the next one is opened with the certificate that its file holds by then. */
  connectionMs: number;
  /** One try of a call, from its turn to the last byte of its answer; a watch, until its answer begins. */
  callMs: number;
  /** Tries of one call, the first included. */
  triesMax: number;
  /** Longest wait that a Retry-After is followed for. */
  retryAfterMaxMs: number;
  /** Connections for calls, and for watches beside them: a watch holds its connection. */
  callConnectionsMax: number;
  watchConnectionsMax: number;
  /** Calls under way and waiting for a connection; the next one is refused. */
  callsMax: number;
  /** Bytes of one answer. */
  answerLenMax: number;
  /** Bytes of one line of a watch: an object is at most about 1.5 MB in storage, and up to six times as long as Go writes it (`<` is `\u003c`). */
  lineLenMax: number;
  /** Objects asked for in one page of a list (fewer where they are too long for one answer), such pages of one list, starts of one list whose continue token expires. */
  pageLen: number;
  listPagesMax: number;
  listStartsMax: number;
  /** How long a watch is asked to last, drawn anew each time between half of it and all of it. */
  watchMs: number;
  /** Longest silence of a watch: servers send a bookmark about once a minute. */
  watchIdleMs: number;
  /** A watch that lasted this long, or told something, was a good one: back-off begins anew. */
  watchLivedMs: number;
  /** How often it is looked whether a kind that may be missing has come to be. */
  missingKindMs: number;
  /** Back-off of following: first wait, and longest where the server gives an answer, if only that it will not. */
  retryMs: number;
  retryMaxMs: number;
  /**
   * Longest where nothing answers. Policy that nothing was heard of for a minute counts as unknown, so a server that restarts within
   * fifty seconds is heard in time.
   */
  unreachableRetryMaxMs: number;
}

export const defaultLimits: Limits = {
  connectMs: 10_000,
  connectionMs: 300_000,
  callMs: 30_000,
  triesMax: 4,
  retryAfterMaxMs: 10_000,
  callConnectionsMax: 16,
  watchConnectionsMax: 64,
  callsMax: 1024,
  answerLenMax: 64 * 1024 * 1024,
  lineLenMax: 16 * 1024 * 1024,
  pageLen: 500,
  listPagesMax: 1000,
  listStartsMax: 3,
  watchMs: 600_000,
  watchIdleMs: 100_000,
  watchLivedMs: 10_000,
  missingKindMs: 30_000,
  retryMs: 500,
  retryMaxMs: 30_000,
  unreachableRetryMaxMs: 10_000,
};

/** Deepest nesting of an answer; objects of Kubernetes stay below thirty. */
export const answerDepthMax = 128;

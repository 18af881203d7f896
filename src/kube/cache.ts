// Following a kind: list, then watch, then watch again from the last version; a new list only where the server has forgotten it.

import { randomInt } from "node:crypto";
import { Fault, describe, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import type { Cache, CacheChange, FollowOptions, Kind, KubeObject } from "./contract.ts";
import { createHeld } from "./held.ts";
import { linkSignals } from "./time-limit.ts";
import type { Limits } from "./limits.ts";
import { listPages } from "./list.ts";
import { collectionPath, keyOf, member } from "./path.ts";
import type { Transport } from "./request.ts";
import { watchEvents } from "./watch.ts";

export interface CacheDeps {
  transport: Transport;
  limits: Limits;
  log: Log;
}

/** Starts to follow; ends when `options.signal` aborts. The contract says the rest. */
export function startCache<T extends KubeObject>(
  { transport, limits, log }: CacheDeps,
  kind: Kind<T>,
  options: FollowOptions<T>,
): Cache<T> {
  const { signal } = options;
  const path = collectionPath(kind, options.namespace);
  const counts = { lists: 0, watches: 0, events: 0 };
  let synced = false;
  let version: string | undefined; // undefined: a list is due
  let heardMs = -Infinity;
  let [watching, failures] = [false, 0];
  let lastError: string | undefined;
  let renewal = new AbortController();
  const isMissing = createMissing();
  const firstSync = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();

  const tell = (what: string, listener: () => void): void => tellSafely(listener, { kind: kind.kind, what, log });
  const held = createHeld<T>({
    kind,
    log,
    onChange: (change: CacheChange<T>) => tell("onChange", () => options.onChange?.(change)),
  });
  const heard = (): number => (heardMs = performance.now());

  async function list(): Promise<void> {
    let relist = held.relist();
    const listed = await listPages(transport, limits, kind, options, {
      begin: () => (relist = held.relist()),
      take: (raw) => relist.take(raw),
    });
    heard();
    if (signal.aborted) return;
    counts.lists += 1;
    isMissing.reset();
    relist.end();
    version = listed;
    synced = true;
    firstSync.resolve();
    tell("onSynced", () => options.onSynced?.());
  }

  /** The server does not know the kind: there are no objects. */
  function empty(): void {
    const isNews = held.objects.size > 0 || !synced;
    heard();
    held.relist().end();
    synced = true;
    failures = 0;
    firstSync.resolve();
    if (isNews) tell("onSynced", () => options.onSynced?.());
  }

  /**
   * One watch to its end. It clears `failures` once it was a good one: it told something, or lasted.
   * Gives how long to wait before the next one.
   */
  async function watch(resourceVersion: string): Promise<number> {
    let beganMs = Infinity;
    let told = false;
    const lasted = (): boolean => performance.now() - beganMs >= limits.watchLivedMs;
    const onHeard = (): void => {
      heard();
      if (watching) return;
      watching = true;
      beganMs = heardMs;
      counts.watches += 1;
    };
    try {
      const until = AbortSignal.any([signal, renewal.signal]);
      const call = { kind, selection: options, resourceVersion, signal: until, onHeard };
      for await (const { type, raw } of watchEvents(transport, limits, call)) {
        if (until.aborted) return 0;
        isMissing.reset();
        if (type !== "BOOKMARK") counts.events += 1;
        if (type === "DELETED") held.drop(raw);
        else if (type !== "BOOKMARK") held.put(raw);
        version = versionOf(raw) ?? version;
        told = true;
        failures = 0;
      }
      if (lasted()) return 0;
      // A server that ends every watch at once must not be asked without end.
      if (told) return backOffMs(1, limits);
      throw new Fault("kube-unreachable", `watch GET ${path}: ended at once, without a word`);
    } finally {
      if (lasted()) failures = 0;
      watching = false;
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      if (renewal.signal.aborted) [renewal, version] = [new AbortController(), undefined];
      try {
        if (version === undefined) await list();
        if (version !== undefined && !signal.aborted) await pause(await watch(version), signal);
      } catch (error) {
        if (signal.aborted) break;
        if (renewal.signal.aborted) continue;
        if (isForgotten(error)) version = undefined;
        if (options.mayBeMissing === true && isMissing.by(error, held.objects.size > 0)) {
          empty();
          await pause(limits.missingKindMs, signal);
          continue;
        }
        failures += 1;
        lastError = describe(error);
        log[failures === 1 ? "info" : "warn"]({ kind: kind.kind, failures, error: lastError }, "watch begins again");
        await pause(backOffMs(failures, limits, error), signal);
      }
    }
  }

  void run().then(ended.resolve, ended.reject);

  return {
    get: (ref) => held.objects.get(keyOf(ref)),
    all: () => [...held.objects.values()],
    synced: () => synced,
    whenSynced: async (withinMs, waiting) => {
      await settledWithin(firstSync.promise, withinMs, [waiting, signal]);
      if (synced) return;
      const why = lastError ?? (signal.aborted || waiting.aborted ? "given up by the caller" : "no answer so far");
      throw new Fault("kube-unreachable", `${kind.plural} have not been listed within ${withinMs} ms: ${why}`);
    },
    renew: () => renewal.abort(),
    silentMs: () => performance.now() - heardMs,
    status: () => ({
      kind: kind.kind,
      objects: held.objects.size,
      ...counts,
      unreadable: held.unreadable(),
      failures: watching ? 0 : failures,
      ...(lastError === undefined ? {} : { lastError }),
    }),
    done: ended.promise,
  };
}

/** Settles with the promise, when the time is over, or when a signal aborts. */
async function settledWithin(work: Promise<void>, withinMs: number, signals: readonly AbortSignal[]): Promise<void> {
  const { controller, release } = linkSignals(signals);
  void work.then(() => controller.abort());
  await pause(withinMs, controller.signal);
  release();
}

/** A listener that throws is a fault of its own: the cache stays right and goes on. */
function tellSafely(listener: () => void, { kind, what, log }: { kind: string; what: string; log: Log }): void {
  try {
    listener();
  } catch (error) {
    log.error({ kind, error: describe(error) }, `${what} of a cache has failed`);
  }
}

/**
 * Tells by the errors of a kind's lists and watches that the server does not know the kind. One that had objects must be missing twice in a
 * row, with no good answer between: a server that has just started may not know it yet.
 */
function createMissing(): { by: (error: unknown, hadSome: boolean) => boolean; reset: () => void } {
  let inRow = 0;
  return {
    by: (error, hadSome) => {
      inRow = isFault(error, "kube-not-found") ? inRow + 1 : 0;
      return inRow > (hadSome ? 1 : 0);
    },
    reset: () => (inRow = 0),
  };
}

/** The version that an event leads to; bookmarks have nothing else. */
function versionOf(raw: unknown): string | undefined {
  const version = member(member(raw, "metadata"), "resourceVersion");
  return typeof version === "string" && version !== "" && version !== "0" ? version : undefined;
}

/**
 * A watch cannot go on from that version: too old, unknown to the server after a restore, of a kind that has gone meanwhile, or followed by
 * what cannot be read, which would come again and again.
 */
function isForgotten(error: unknown): boolean {
  if (!isFault(error)) return false;
  const causes = error.data["causes"];
  const ahead = Array.isArray(causes) && causes.includes("ResourceVersionTooLarge");
  return ahead || isFault(error, "kube-expired", "kube-refused", "kube-not-found", "kube-answer");
}

/**
 * Between half of the doubled wait and all of it, so that many clients do not come back together. It stays shorter where nothing
 * answers: to try that costs the server nothing.
 */
function backOffMs(failures: number, { retryMs, retryMaxMs, unreachableRetryMaxMs }: Limits, error?: unknown): number {
  const longestMs = isFault(error, "kube-unreachable") ? Math.min(unreachableRetryMaxMs, retryMaxMs) : retryMaxMs;
  const full = Math.min(retryMs * 2 ** Math.min(failures - 1, 20), longestMs);
  return Math.ceil(full / 2) + randomInt(Math.floor(full / 2) + 1);
}

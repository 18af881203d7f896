// Following a kind that a cluster may lack: it is looked for at first and again later, and followed while it is served.

import { describe, Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import type { Cache, FollowOptions, Kind, Kube, KubeObject } from "./contract.ts";
import { apiVersionOf, member } from "./path.ts";
import { linkSignals } from "./time-limit.ts";

/** Between looks whether the kind has come or gone; shorter while that is not known for sure. */
const lookMs = 60_000;
const lookAgainMs = 2_000;

export interface OptionalOptions<T> extends FollowOptions<T> {
  log: Log;
  /** Other times, for tests. */
  looks?: { lookMs: number; lookAgainMs: number };
}

interface Following<T> {
  cache: Cache<T>;
  stop: AbortController;
}

/**
 * A cache of a kind that need not be there: without it, it is a synced one that holds nothing. One that was there is gone when it was
 * missed twice in a row, since a server that starts may not know its kinds yet; then its objects are told as gone.
 */
export function followOptional<T extends KubeObject>(
  kube: Kube,
  kind: Kind<T>,
  { log, looks = { lookMs, lookAgainMs }, ...options }: OptionalOptions<T>,
): Cache<T> {
  const { signal } = options;
  let following: Following<T> | undefined;
  let missed = 0;
  let answeredMs = -Infinity;
  let lastError: string | undefined;
  const answered = Promise.withResolvers<void>();

  const begin = (): void => {
    const { controller } = linkSignals([signal]);
    following = { stop: controller, cache: kube.follow(kind, { ...options, signal: controller.signal }) };
  };
  const end = ({ cache, stop }: Following<T>): void => {
    following = undefined;
    stop.abort();
    log.info({ kind: kind.kind }, "the cluster has this kind no more");
    for (const before of cache.all()) options.onChange?.({ before });
  };

  async function look(): Promise<void> {
    try {
      const served = await isServed(kube, kind, signal);
      missed = served ? 0 : missed + 1;
      if (served && following === undefined) begin();
      if (following !== undefined && missed > 1) end(following);
      lastError = undefined;
      const first = answeredMs === -Infinity;
      answeredMs = performance.now();
      answered.resolve();
      if (first && following === undefined) options.onSynced?.();
    } catch (error) {
      lastError = describe(error);
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await look();
      const unsure = lastError !== undefined || (missed === 1 && following !== undefined);
      await pause(unsure ? looks.lookAgainMs : looks.lookMs, signal);
    }
    await following?.cache.done;
  }

  return {
    get: (ref) => following?.cache.get(ref),
    all: () => following?.cache.all() ?? [],
    synced: () => (following === undefined ? answeredMs !== -Infinity : following.cache.synced()),
    whenSynced: async (withinMs, waiting) => {
      const startedMs = performance.now();
      const { controller, release } = linkSignals([waiting, signal]);
      void answered.promise.then(() => controller.abort());
      await pause(withinMs, controller.signal);
      release();
      if (answeredMs === -Infinity)
        throw new Fault(
          "kube-unreachable",
          `whether there are ${kind.plural} has not been told within ${withinMs} ms: ${lastError ?? "no answer so far"}`,
        );
      await following?.cache.whenSynced(Math.max(0, withinMs - (performance.now() - startedMs)), waiting);
    },
    silentMs: () => following?.cache.silentMs() ?? performance.now() - answeredMs,
    status: () =>
      following?.cache.status() ?? {
        kind: kind.kind,
        objects: 0,
        lists: 0,
        watches: 0,
        events: 0,
        failures: lastError === undefined ? 0 : 1,
        ...(lastError === undefined ? {} : { lastError }),
      },
    done: run(),
  };
}

/** Whether the server lists the kind among those that it has. */
async function isServed(kube: Kube, kind: Kind<KubeObject>, signal: AbortSignal): Promise<boolean> {
  const path = `/apis/${apiVersionOf(kind)}`;
  let text: string;
  try {
    text = await kube.raw(path, { signal });
  } catch (error) {
    if (isFault(error, "kube-not-found")) return false;
    throw error;
  }
  const resources = member(parsed(text), "resources");
  if (!Array.isArray(resources)) throw new Fault("kube-answer", `GET ${path}: the answer is no list of resources`);
  return resources.some((each) => member(each, "name") === kind.plural);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

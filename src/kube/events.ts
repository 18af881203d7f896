// Events for people, "kubectl describe" shows them: repeats are counted on one object, floods are held back, and nothing waits for them.

import { randomBytes } from "node:crypto";
import { describe, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { keepNewest } from "../base/newest.ts";
import { pause } from "../base/pause.ts";
import { clip } from "../cni/quote.ts";
import type { Kube } from "./contract.ts";
import { events, type KubeEvent } from "./core-objects.ts";

/** The object that an event is about. */
export interface EventTarget {
  apiVersion: string;
  kind: string;
  name: string;
  /** Absent on cluster-scoped objects. */
  namespace?: string;
  uid?: string;
}

export interface EventNote {
  type: "Normal" | "Warning";
  /** One word in CamelCase that programs can look for. */
  reason: string;
  message: string;
}

export interface EventsOptions {
  kube: Pick<Kube, "create" | "patch">;
  /** Who tells: "fairlead-agent". */
  component: string;
  /** The node that it runs on, or the pod. */
  instance: string;
  log: Log;
  signal: AbortSignal;
  limits?: Partial<EventLimits>;
}

export interface EventLimits {
  /** Different events that are remembered to count their repeats; the one longest unheard of goes first. */
  rememberedMax: number;
  /** How long repeats are counted on one object; servers drop events after an hour. */
  countedMs: number;
  /** Writes for one object at once, and how often another one is allowed; what comes meanwhile is counted. */
  burstMax: number;
  refillMs: number;
  /** Events that wait to be written; further ones are dropped. */
  waitingMax: number;
}

const defaultLimits: EventLimits = {
  rememberedMax: 1000,
  countedMs: 600_000,
  burstMax: 25,
  refillMs: 60_000,
  waitingMax: 256,
};

/** What the server takes (events.k8s.io/v1, "note" and "reason"). */
const messageLenMax = 1024;
const reasonLenMax = 128;
/** Longest name that an object may have; the event's own has a dot and 16 digits more. */
const targetNameLenMax = 253 - 17;

export interface Events {
  /** Tells of something. Never waits, never throws: an event is a courtesy. */
  note(target: EventTarget, note: EventNote): void;
  status(): { written: number; dropped: number; waiting: number };
  /** Settles when all that waits is written or given up, or after `withinMs`. */
  flush(withinMs: number): Promise<void>;
}

/** One kind of event on one object, from its first time on. */
interface Remembered {
  target: EventTarget;
  note: EventNote;
  firstMs: number;
  firstTimestamp: string;
  count: number;
  /** Its name on the server; absent where it was not written yet. */
  written?: string;
  waiting: boolean;
}

/** Starts to take events; they are written one after another until `signal` aborts. */
export function startEvents(options: EventsOptions): Events {
  const { kube, log, signal } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const remembered = new Map<string, Remembered>();
  const allowance = createAllowance(limits);
  let queue: Remembered[] = [];
  let writing: Promise<void> | undefined;
  let written = 0;
  let dropped = 0;

  async function write(): Promise<void> {
    for (let next = queue.shift(); next !== undefined && !signal.aborted; next = queue.shift()) {
      next.waiting = false;
      try {
        await writeOne(kube, options, next, signal);
        written += 1;
      } catch (error) {
        dropped += 1;
        log.debug({ error: describe(error) }, "an event could not be written");
      }
    }
    queue = [];
    writing = undefined;
  }

  function take(target: EventTarget, note: EventNote): void {
    const object = `${target.kind} ${target.namespace ?? ""}/${target.name} ${target.uid ?? ""}`;
    const key = JSON.stringify([object, note.type, note.reason, note.message]);
    const nowMs = performance.now();
    const known = remembered.get(key);
    const entry: Remembered =
      known !== undefined && nowMs - known.firstMs < limits.countedMs
        ? known
        : { target, note, firstMs: nowMs, firstTimestamp: timestamp(), count: 0, waiting: false };
    entry.count += 1;
    keepNewest(remembered, key, entry, limits.rememberedMax);
    if (entry.waiting) return;
    if (queue.length >= limits.waitingMax || !allowance(object, nowMs)) {
      dropped += 1;
      return;
    }
    entry.waiting = true;
    queue.push(entry);
    writing ??= write();
  }

  return {
    note: (target, note) => {
      if (signal.aborted) return;
      take(target, {
        type: note.type,
        reason: clip(note.reason, reasonLenMax),
        message: clip(note.message, messageLenMax),
      });
    },
    status: () => ({ written, dropped, waiting: queue.length + (writing === undefined ? 0 : 1) }),
    flush: async (withinMs) => {
      const over = new AbortController();
      await Promise.race([writing, pause(withinMs, over.signal)]);
      over.abort();
    },
  };
}

/** Writes the event anew, or its count where the server has it. */
async function writeOne(
  kube: EventsOptions["kube"],
  { component, instance }: EventsOptions,
  entry: Remembered,
  signal: AbortSignal,
): Promise<void> {
  const { target, note, firstTimestamp } = entry;
  const { count } = entry;
  const lastTimestamp = timestamp();
  // Events of what is in no namespace live in this one.
  const namespace = target.namespace ?? "default";
  if (entry.written !== undefined) {
    try {
      const body = { count, lastTimestamp };
      await kube.patch(events, { name: entry.written, namespace }, { type: "merge", body }, { signal });
      return;
    } catch (error) {
      if (!isFault(error, "kube-not-found")) throw error;
      // The server has dropped it since.
    }
  }
  const name = `${target.name.slice(0, targetNameLenMax)}.${randomBytes(8).toString("hex")}`;
  const event: KubeEvent = {
    metadata: { name, namespace },
    involvedObject: target,
    ...note,
    source: { component, host: instance },
    reportingComponent: component,
    reportingInstance: instance,
    firstTimestamp,
    lastTimestamp,
    count,
  };
  await kube.create(events, event, { signal });
  entry.written = name;
}

/** Gives what says for each object whether one more may be written: so many at once, then one each `refillMs`; each yes is counted. */
export function createAllowance({
  burstMax,
  refillMs,
  rememberedMax,
}: Pick<EventLimits, "burstMax" | "refillMs" | "rememberedMax">): (object: string, nowMs: number) => boolean {
  const left = new Map<string, { tokens: number; atMs: number }>();
  return (object, nowMs) => {
    const { tokens, atMs } = left.get(object) ?? { tokens: burstMax, atMs: nowMs };
    const now = Math.min(burstMax, tokens + Math.max(0, nowMs - atMs) / refillMs);
    const allowed = now >= 1;
    keepNewest(left, object, { tokens: allowed ? now - 1 : now, atMs: nowMs }, rememberedMax);
    return allowed;
  };
}

/** Core events know whole seconds. */
const timestamp = (): string => new Date().toISOString().replace(/\.\d+Z$/, "Z");

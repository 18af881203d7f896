// Events on objects: what an operator has to know, told once and then now and again while it lasts.

import { createHash } from "node:crypto";
import { describe, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { keepNewest } from "../base/newest.ts";
import type { Kind, Kube, KubeObject, Meta } from "../kube/contract.ts";
import { events } from "../kube/core-objects.ts";
import { createAllowance } from "../kube/events.ts";
import { apiVersionOf } from "../kube/path.ts";

/** The same is not told again for this long: the server forgets events after an hour. */
const tellAgainMs = 20 * 60_000;
/** Things remembered as told, and objects; the oldest is forgotten first, and at worst told twice. */
const rememberedMax = 4096;
/** Of one object, and of all of a kind, so many at once and then one each: what is told of some must not hide what is to be told of others. */
const ofObject = { burstMax: 10, refillMs: 60_000, rememberedMax };
/** Kinds are few. */
const ofKind = { burstMax: 256, refillMs: 2_000, rememberedMax: 64 };
/** Longest message that a server takes (validation of core/v1 events). */
const messageLenMax = 1024;
/** Events of objects without a namespace stand in this one (client-go does the same). */
const eventNamespace = "default";
const component = "fairlead-controller";

/** What an event is about. */
export interface Subject {
  kind: string;
  apiVersion: string;
  name: string;
  /** Absent on objects that are in none. */
  namespace?: string;
  uid: string;
}

/** That object of that kind. */
export function subjectOf(
  kind: Pick<Kind<KubeObject>, "group" | "version" | "kind">,
  { name, namespace, uid = "" }: Meta,
): Subject {
  return {
    kind: kind.kind,
    apiVersion: apiVersionOf(kind),
    name,
    ...(namespace === undefined ? {} : { namespace }),
    uid,
  };
}

export interface Reporter {
  /** Writes a Warning event and a log line, unless the same was told lately, or too much was: that is told when it is said again later. A failure is logged: an event is never worth a pass. */
  warn(subject: Subject, reason: string, message: string, signal: AbortSignal): Promise<void>;
}

export interface ReporterOptions {
  kube: Pick<Kube, "create">;
  log: Log;
  /** Names this process. */
  instance: string;
  now: () => number;
}

/** Makes the controller's reporter. */
export function createReporter({ kube, log, instance, now }: ReporterOptions): Reporter {
  const toldMs = new Map<string, number>();
  const [mayOfObject, mayOfKind] = [createAllowance(ofObject), createAllowance(ofKind)];
  return {
    warn: async ({ kind, apiVersion, name, namespace, uid }, reason, message, signal) => {
      const object = `${kind}/${namespace === undefined ? "" : `${namespace}/`}${name}`;
      const key = `${uid} ${reason} ${message}`;
      const last = toldMs.get(key);
      if (last !== undefined && now() - last < tellAgainMs) return;
      if (!mayOfObject(uid, now()) || !mayOfKind(kind, now())) return;
      keepNewest(toldMs, key, now(), rememberedMax);
      log.warn({ object, reason }, message);
      const timestamp = new Date(now()).toISOString().replace(/\.\d+Z$/, "Z");
      const text = message.slice(0, messageLenMax);
      const digest = createHash("sha256").update(`${key} ${now()}`).digest("hex").slice(0, 16);
      const event = {
        metadata: { name: `${name.slice(0, 230)}.${digest}`, namespace: namespace ?? eventNamespace },
        involvedObject: { apiVersion, kind, name, uid, ...(namespace === undefined ? {} : { namespace }) },
        type: "Warning",
        reason,
        message: text,
        source: { component },
        reportingComponent: component,
        reportingInstance: instance,
        firstTimestamp: timestamp,
        lastTimestamp: timestamp,
        count: 1,
      };
      try {
        await kube.create(events, event, { signal });
      } catch (error) {
        if (isFault(error, "kube-exists")) return; // a retry of a call that had been carried out
        toldMs.delete(key);
        log.warn({ object, reason, error: describe(error) }, "the event could not be written");
      }
    },
  };
}

// The loop that tells people of break-glass: events on the Namespace or Node that has it, while it lasts, when it ends, and where it is refused.

import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import { nodes } from "../kube/core-objects.ts";
import { namespaces } from "../kube/policy-objects.ts";
import type { Kind, KubeObject } from "../kube/contract.ts";
import { breakGlassOf, breakGlassText, lasts, nextEdgeMs, readBreakGlass } from "../policy/break-glass.ts";
import type { BreakGlass } from "../policy/model.ts";
import { objectTitle } from "../policy/problem.ts";
import type { ControllerDeps } from "./deps.ts";
import { type Subject, subjectOf } from "./events.ts";

/** A pass at least that often: an event is told again while it lasts. */
const fullPassMs = 60_000;
/** Namespaces and nodes whose end is told; there are never so many at once in earnest. */
const rememberedMax = 1024;

export interface BreakGlassTeller {
  /** One pass over all namespaces and nodes. */
  sync: (signal: AbortSignal) => Promise<void>;
  /** When the next begins or ends, at most `fullPassMs`. */
  dueMs: () => number;
}

/** Starts the loop. */
export function startBreakGlass(deps: ControllerDeps, signal: AbortSignal, onPass?: (pass: LoopPass) => void): Loop {
  const { sync, dueMs } = createBreakGlassTeller(deps);
  return startLoop({
    name: "break-glass",
    minMs: 100,
    retryMs: 500,
    retryMaxMs: 30_000,
    maxMs: dueMs,
    sync,
    signal,
    ...(onPass === undefined ? {} : { onPass }),
  });
}

/** Makes what tells; it remembers what it has seen last, so that it can tell an end. */
export function createBreakGlassTeller({ caches, events, now }: ControllerDeps): BreakGlassTeller {
  const lasting = new Map<string, { subject: Subject; glass: BreakGlass }>();
  let edgeMs = Infinity;

  async function look(
    kind: Kind<KubeObject>,
    object: KubeObject,
    signal: AbortSignal,
  ): Promise<BreakGlass | undefined> {
    const subject = subjectOf(kind, object.metadata);
    const title = objectTitle(kind.kind, { name: object.metadata.name });
    const refused: string[] = [];
    const glass = readBreakGlass(title, breakGlassOf(object), (path, message) => refused.push(`${path}: ${message}`));
    for (const message of refused) await events.warn(subject, "BreakGlassRefused", message, signal);
    const isOpen = glass !== undefined && lasts(glass, now());
    if (isOpen) {
      if (lasting.size < rememberedMax) lasting.set(title, { subject, glass });
      await events.warn(subject, "BreakGlass", `policy denies its pods nothing: ${breakGlassText(glass)}`, signal);
    } else if (lasting.delete(title)) {
      await events.warn(subject, "BreakGlassEnded", "policy judges its pods again", signal);
    }
    return glass;
  }

  return {
    dueMs: () => Math.max(0, Math.min(fullPassMs, edgeMs - now())),
    sync: async (signal) => {
      if (!caches.namespaces.synced() || !caches.nodes.synced()) return;
      const startedMs = now();
      const seen = new Set<string>();
      const glasses: BreakGlass[] = [];
      for (const [kind, objects] of [
        [namespaces, caches.namespaces.all()],
        [nodes, caches.nodes.all()],
      ] as const) {
        for (const object of objects) {
          const title = objectTitle(kind.kind, { name: object.metadata.name });
          seen.add(title);
          if (breakGlassOf(object) === undefined && !lasting.has(title)) continue;
          const glass = await look(kind, object, signal);
          if (glass !== undefined) glasses.push(glass);
        }
      }
      for (const title of lasting.keys()) if (!seen.has(title)) lasting.delete(title);
      edgeMs = nextEdgeMs(glasses, startedMs);
    },
  };
}

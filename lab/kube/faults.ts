// Failures on order: rules that strike some requests, and switches for the whole server.

import type { Route, Verb } from "./route.ts";

/** What befalls a request that a rule strikes. */
export type FaultEffect =
  /** An answer instead of the work; with `after`, the work is done and the answer lies. */
  | { does: "answer"; status: number; reason?: string; message?: string; retryAfterSeconds?: number; after?: boolean }
  | { does: "delay"; ms: number }
  /** The connection ends without an answer, before or after the work was done. */
  | { does: "cut"; when: "before" | "after" }
  /** A watch begins and stays silent; other requests are never answered. */
  | { does: "stall" };

/** Which requests, and what befalls them. Absent keys match everything. */
export interface FaultRule {
  verb?: Verb;
  /** The plural: "nodes". */
  resource?: string;
  subresource?: string;
  namespace?: string;
  name?: string;
  user?: string;
  /** Requests that match and pass before the first is struck; 0 if absent. */
  skip?: number;
  /** Requests that are struck; 1 if absent. */
  times?: number;
  effect: FaultEffect;
}

export interface PlacedRule {
  /** Requests that it has struck so far. */
  struck(): number;
  remove(): void;
}

/** Rules that stand at once. */
const rulesMax = 1_000;

export interface Faults {
  add(rule: FaultRule): PlacedRule;
  clear(): void;
  /** What befalls this request; it counts for the rules. */
  strike(route: Route, user: string): FaultEffect | undefined;
}

interface Standing {
  rule: FaultRule;
  passed: number;
  struck: number;
}

export function createFaults(): Faults {
  const standing = new Set<Standing>();
  return {
    add: (rule) => {
      if (standing.size >= rulesMax) throw new RangeError(`${rulesMax} fault rules stand already; clear them`);
      const own: Standing = { rule, passed: 0, struck: 0 };
      standing.add(own);
      return { struck: () => own.struck, remove: () => void standing.delete(own) };
    },
    clear: () => standing.clear(),
    strike: (route, user) => {
      for (const own of standing) {
        const { rule } = own;
        if (own.struck >= (rule.times ?? 1) || !isMeant(rule, route, user)) continue;
        if (own.passed < (rule.skip ?? 0)) {
          own.passed += 1;
          continue;
        }
        own.struck += 1;
        return rule.effect;
      }
      return undefined;
    },
  };
}

function isMeant(rule: FaultRule, { verb, resource, subresource, namespace, name }: Route, user: string): boolean {
  const is = (wanted: string | undefined, has: string | undefined): boolean => wanted === undefined || wanted === has;
  return (
    is(rule.verb, verb) &&
    is(rule.resource, resource.plural) &&
    is(rule.subresource, subresource) &&
    is(rule.namespace, namespace) &&
    is(rule.name, name) &&
    is(rule.user, user)
  );
}

/** A door that can be shut: who comes then waits until it opens. */
export interface Gate {
  shut(): void;
  open(): void;
  isOpen(): boolean;
  /** Settles when the door is open, or `signal` aborts. */
  pass(signal: AbortSignal): Promise<void>;
  /** Told each time that it opens. */
  onOpen(tell: () => void): () => void;
}

export function createGate(): Gate {
  let closed = false;
  const waiting = new Set<() => void>();
  const onOpen = (tell: () => void): (() => void) => {
    waiting.add(tell);
    return () => void waiting.delete(tell);
  };
  return {
    shut: () => {
      closed = true;
    },
    open: () => {
      closed = false;
      for (const tell of waiting) tell();
    },
    isOpen: () => !closed,
    onOpen,
    pass: async (signal) => {
      if (!closed || signal.aborted) return;
      await new Promise<void>((resolve) => {
        const end = (): void => {
          stop();
          signal.removeEventListener("abort", end);
          resolve();
        };
        const stop = onOpen(end);
        signal.addEventListener("abort", end, { once: true });
      });
    },
  };
}

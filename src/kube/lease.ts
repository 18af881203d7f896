// Who of several may act: an election by a Lease. At no instant do two hold a term, if their clocks run at about the same speed.

import { randomInt, randomUUID } from "node:crypto";
import { assert } from "../base/assert.ts";
import { describe, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import type { Kube, ObjectRef } from "./contract.ts";
import { type Lease, leases } from "./core-objects.ts";
import { createObserver, givenBack, microTime, takenBy } from "./lease-record.ts";
import { type Term, startTerm } from "./term.ts";
import { limited, linkSignals } from "./time-limit.ts";

export interface ElectionTimes {
  /** How long the others leave a lease alone that they have not seen renewed. Whole seconds are written into it, rounded up. */
  leaseMs: number;
  /** How long a term lasts after the renewal that last succeeded was begun; shorter than `leaseMs` by what a last act may take. */
  renewDeadlineMs: number;
  /** Between two renewals, and between two looks of those who wait. */
  retryMs: number;
}

export const defaultElectionTimes: ElectionTimes = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2000 };

export interface ElectionOptions {
  kube: Pick<Kube, "get" | "create" | "replace">;
  lease: Required<ObjectRef>;
  /** Names this candidate to people; what makes it unique is added. */
  identity: string;
  times?: ElectionTimes;
  signal: AbortSignal;
  log: Log;
  /**
   * Acts as leader until `term` aborts, then ends soon: no other term of this candidate begins before, and the lease is not given
   * back before. Ending earlier gives the lease back. Every act asks `term.aborted` first, or hands `term` to the call that acts;
   * a write that the server gets late is refused by the resourceVersion that it carries.
   */
  lead: (term: AbortSignal) => Promise<void>;
}

export interface ElectionStatus {
  leads: boolean;
  /** Who holds the lease, as last seen; "" for nobody. */
  holder: string;
  terms: number;
  /** Failed looks and renewals in a row. */
  failures: number;
  lastError?: string;
}

export interface Election {
  status(): ElectionStatus;
  /** Settles when `signal` has aborted, `lead` has ended and the lease is given back, where that could be done. */
  done: Promise<void>;
}

/** Stands for election until `signal` aborts. */
export function startElection({ kube, lease, identity, times, signal, log, lead }: ElectionOptions): Election {
  const { leaseMs, renewDeadlineMs, retryMs } = times ?? defaultElectionTimes;
  assert(
    renewDeadlineMs < leaseMs && retryMs < renewDeadlineMs,
    "an election's times are retry < renew deadline < lease",
  );
  const self = `${identity}_${randomUUID()}`;
  const observer = createObserver(self, leaseMs);
  let term: Term | undefined;
  let terms = 0;
  let failures = 0;
  let lastError: string | undefined;

  const failed = (error: unknown): void => {
    failures += 1;
    lastError = describe(error);
  };
  const calls = createCalls(kube, lease, renewDeadlineMs / 3);

  /** Takes the lease if it is free; gives it and when the term ends. */
  async function campaign(): Promise<{ held: Lease; untilMs: number } | undefined> {
    const found = await calls.look(signal);
    if (!observer.isFree(found)) return undefined;
    const spec = takenBy(self, leaseMs, found);
    // The term's time begins before the write can be seen by anybody.
    const untilMs = performance.now() + renewDeadlineMs;
    const held = await calls.write(found, spec, signal);
    return { held, untilMs };
  }

  /** Renews until the term is over or `working` aborts; gives the lease as it last was. */
  async function renew(held: Lease, term: Term, working: AbortSignal): Promise<Lease> {
    let last = held;
    const { controller, release } = linkSignals([term.signal, working]);
    while (!controller.signal.aborted) {
      await pause(retryMs, controller.signal);
      if (controller.signal.aborted || term.signal.aborted) break;
      try {
        const untilMs = performance.now() + renewDeadlineMs;
        last = await calls.write(last, { ...last.spec, renewTime: microTime() }, controller.signal);
        if (term.extend(untilMs)) failures = 0;
      } catch (error) {
        if (controller.signal.aborted) break;
        failed(error);
        const found = isFault(error, "kube-conflict", "kube-not-found")
          ? await calls.look(controller.signal).catch(() => last)
          : last;
        // The version moved on: somebody edited it, an earlier renewal came through after all, or it has another holder.
        if (found?.spec.holderIdentity === self) last = found;
        else term.end(`the lease is held by ${found?.spec.holderIdentity ?? "nobody"}`);
      }
    }
    release();
    return last;
  }

  /** One term, from its beginning until `lead` has ended. */
  async function reign(won: { held: Lease; untilMs: number }): Promise<void> {
    const begun = startTerm(won.untilMs);
    term = begun;
    terms += 1;
    failures = 0;
    const working = new AbortController();
    const stop = (): void => begun.end("the program stops");
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    log.info({ lease: lease.name, self }, "leads");
    const renewing = renew(won.held, begun, working.signal);
    try {
      if (!begun.signal.aborted) await lead(begun.signal);
    } catch (error) {
      if (begun.signal.aborted) log.info({ lease: lease.name, error: describe(error) }, "leading was broken off");
      else {
        failed(error);
        log.error({ lease: lease.name, error: describe(error) }, "leading has failed");
      }
    }
    // A term that ran out belongs to the others; one that was ended is given back, so that they need not wait.
    const ranOut = begun.signal.aborted && !signal.aborted;
    begun.end("leading has ended");
    working.abort();
    signal.removeEventListener("abort", stop);
    const held = await renewing;
    term = undefined;
    log.info({ lease: lease.name, self, ranOut }, "leads no more");
    if (!ranOut) await giveBack(held);
  }

  async function giveBack(held: Lease): Promise<void> {
    try {
      await calls.write(held, givenBack(held)).catch(async (error: unknown) => {
        // A renewal that was given up may have come through all the same.
        const found = isFault(error, "kube-conflict") ? await calls.look() : undefined;
        if (found?.spec.holderIdentity !== self) throw error;
        return calls.write(found, givenBack(found));
      });
    } catch (error) {
      log.info({ lease: lease.name, error: describe(error) }, "the lease could not be given back; it will run out");
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const won = await campaign();
        if (won !== undefined) await reign(won);
        else failures = 0;
      } catch (error) {
        // A conflict is an election that another has won.
        if (!isFault(error, "kube-conflict", "kube-exists")) failed(error);
      }
      await pause(retryMs + randomInt(Math.ceil(retryMs / 5) + 1), signal);
    }
  }

  const leads = (): boolean => term !== undefined && !term.signal.aborted;
  return {
    done: run(),
    status: () => ({
      leads: leads(),
      holder: leads() ? self : observer.holder(),
      terms,
      failures,
      ...(lastError === undefined ? {} : { lastError }),
    }),
  };
}

interface LeaseCalls {
  look(ending?: AbortSignal): Promise<Lease | undefined>;
  /** Writes over the lease that was found, or a new one where none was. */
  write(found: Lease | undefined, spec: Lease["spec"], ending?: AbortSignal): Promise<Lease>;
}

/** Each call within `callMs`, so that one that hangs leaves time for another. */
function createCalls(kube: ElectionOptions["kube"], ref: Required<ObjectRef>, callMs: number): LeaseCalls {
  return {
    look: async (ending) => {
      try {
        return await limited(callMs, ending, (signal) => kube.get(leases, ref, { signal }));
      } catch (error) {
        if (isFault(error, "kube-not-found")) return undefined;
        throw error;
      }
    },
    write: (found, spec, ending) =>
      limited(callMs, ending, (signal) =>
        found === undefined
          ? kube.create(leases, { metadata: ref, spec }, { signal })
          : kube.replace(leases, { ...found, spec }, { signal }),
      ),
  };
}

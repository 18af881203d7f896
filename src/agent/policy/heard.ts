// Whether what an ADD is judged by is still the cluster's word: a watch that is silent may be dead, so the namespace is asked for itself.

import { describe, Fault, isFault } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { keepNewest } from "../../base/newest.ts";
import { pause } from "../../base/pause.ts";
import { ifKnown } from "../../kube/if-there.ts";
import type { Cache, Kind, Kube, KubeObject, Selection } from "../../kube/contract.ts";

/** A watch that nothing was heard of for that long is not believed by itself. API servers send a bookmark about once a minute. */
export const heardWithinMs = 60_000;
/** One look at a namespace, all its lists. */
const askWithinMs = 2_000;
/** Until a cache that was behind has what the list had. */
const caughtUpWithinMs = 3_000;
const lookMs = 50;
/** Namespaces that are asked for at once; ADDs of another one wait for a turn. */
const asksMax = 8;
/** Answers that are remembered, one for each kind of a namespace: namespaces come and go. */
const agreedMax = 4096;

type Followed = Pick<Cache<KubeObject>, "all" | "silentMs" | "status" | "renew">;

/** A kind, its cache, and what of it judges pods of a namespace. */
export interface FollowedKind {
  kind: Kind<KubeObject>;
  cache: Followed;
  within: (namespace: string) => Selection;
}

export interface HeardDeps {
  kube: Pick<Kube, "list">;
  kinds: readonly FollowedKind[];
  silentMaxMs: number;
  log: Log;
  signal: AbortSignal;
}

/**
 * Gives what settles once everything that judges pods of a namespace has been heard of lately: by its watch, or by one consistent list of it,
 * which all who ask meanwhile share. A cache that lacks what the list has is filled anew first. Where the API server does not answer,
 * what is known counts, as in every outage.
 * @throws Fault "policy-unknown" where it answers and would not say, or the cache does not catch up
 */
export function createHeard({
  kube,
  kinds,
  silentMaxMs,
  log,
  signal,
}: HeardDeps): (namespace: string) => Promise<void> {
  /** By namespace and kind: when the server had last said the same as the cache. */
  const agreed = new Map<string, number>();
  const asking = new Map<string, Promise<void>>();

  const silentIn = (namespace: string): FollowedKind[] => {
    const agreedForMs = ({ kind }: FollowedKind): number =>
      performance.now() - (agreed.get(agreedKey(namespace, kind)) ?? -Infinity);
    return kinds.filter(
      (one) => Math.min(one.cache.silentMs(), agreedForMs(one)) > silentMaxMs && one.cache.status().failures === 0,
    );
  };

  async function differing(namespace: string, some: readonly FollowedKind[]): Promise<FollowedKind[]> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(askWithinMs)]);
    const found = await Promise.all(
      some.map(async (one) => {
        const selection = one.within(namespace);
        const said = await ifKnown(kube.list(one.kind, { ...selection, signal: deadline }));
        const held = one.cache.all().filter((object) => isWithin(object, selection));
        return versions(said) === versions(held) ? [] : [one];
      }),
    );
    return found.flat();
  }

  async function ask(namespace: string, silent: readonly FollowedKind[]): Promise<void> {
    const askedMs = performance.now();
    let behind = await differing(namespace, silent);
    if (behind.length > 0) {
      const names = behind.map(({ kind }) => kind.kind);
      log.warn({ kinds: names, namespace }, "a watch had fallen silent and missed changes: listed anew");
      for (const { cache } of behind) cache.renew();
      const endMs = askedMs + caughtUpWithinMs;
      while (behind.length > 0) {
        if (performance.now() >= endMs || signal.aborted) throw unknown(`${names.join(", ")} not heard of again`);
        await pause(lookMs, signal);
        behind = behind.filter(({ cache }) => cache.silentMs() > performance.now() - askedMs);
      }
    }
    for (const { kind } of silent) keepNewest(agreed, agreedKey(namespace, kind), askedMs, agreedMax);
  }

  async function settled(namespace: string, silent: readonly FollowedKind[]): Promise<void> {
    try {
      await ask(namespace, silent);
    } catch (error) {
      // It does not answer: an outage, in which what is known goes on.
      if (isFault(error, "kube-unreachable")) return;
      throw isFault(error, "policy-unknown") ? error : unknown(describe(error));
    } finally {
      asking.delete(namespace);
    }
  }

  return async (namespace) => {
    for (let silent = silentIn(namespace); silent.length > 0; silent = silentIn(namespace)) {
      const begun = asking.get(namespace);
      if (begun !== undefined) return begun;
      if (asking.size < asksMax) {
        const own = settled(namespace, silent);
        asking.set(namespace, own);
        return own;
      }
      // How that one ends is told to who has asked.
      await Promise.race([...asking.values()].map((one) => Promise.allSettled([one])));
    }
  };
}

const agreedKey = (namespace: string, { kind }: Kind<KubeObject>): string => `${namespace} ${kind}`;

function isWithin({ metadata }: KubeObject, { namespace, fieldSelector }: Selection): boolean {
  if (namespace !== undefined) return metadata.namespace === namespace;
  return fieldSelector === undefined || fieldSelector === `metadata.name=${metadata.name}`;
}

const versions = (objects: readonly KubeObject[]): string =>
  objects
    .map(({ metadata: { namespace = "", name, uid = "", resourceVersion = "" } }) =>
      [namespace, name, uid, resourceVersion].join(" "),
    )
    .toSorted()
    .join("\n");

function unknown(why: string): Fault {
  return new Fault(
    "policy-unknown",
    `it is not known whether policies of this pod have changed, their watch is silent: ${why}; try again`,
  );
}

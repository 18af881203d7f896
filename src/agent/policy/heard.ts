// Whether what an ADD is judged by is still the cluster's word: a watch that is silent may be dead, so the namespace is asked for itself.

import { describe, Fault, isFault } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { keepNewest } from "../../base/newest.ts";
import { pause } from "../../base/pause.ts";
import type { Cache, Kind, Kube, KubeObject, Selection } from "../../kube/contract.ts";
import { type Identity, keyOf } from "../../kube/path.ts";
import { listReadableIfKnown } from "../../kube/readable.ts";

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

/** A kind that says something else than its cache: what it says, and how often the cache had been listed. */
interface Behind {
  one: FollowedKind;
  said: string;
  unreadable: readonly Identity[];
  selection: Selection;
  lists: number;
}

interface Look {
  behind: Behind[];
  failures: unknown[];
  askedMs: number;
}

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
 * which all who ask meanwhile share. A cache that lacks what the list has is filled anew first. Where the API server does not answer for
 * a kind, what is known of that kind counts, as in every outage. An object that cannot be read is left out, as the cache leaves it out.
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

  /** Asks for what the kinds have of a namespace. Those that say the same as their caches have agreed; caches of others begin anew at once. */
  async function look(namespace: string, some: readonly FollowedKind[]): Promise<Look> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(askWithinMs)]);
    const askedMs = performance.now();
    const [behind, failures]: [Behind[], unknown[]] = [[], []];
    const lookAt = async (one: FollowedKind): Promise<void> => {
      const selection = one.within(namespace);
      const { items, unreadable } = await listReadableIfKnown(kube, one.kind, { ...selection, signal: deadline });
      const said = versions(items);
      if (said === heldVersions(one, selection, unreadable)) {
        keepNewest(agreed, agreedKey(namespace, one.kind), askedMs, agreedMax);
      } else {
        behind.push({ one, said, unreadable, selection, lists: one.cache.status().lists });
        one.cache.renew();
      }
    };
    await Promise.all(some.map((one) => lookAt(one).catch((error: unknown) => failures.push(error))));
    return { behind, failures, askedMs };
  }

  /** True once the cache has what the list had, or a newer list. */
  const hasCaughtUp = ({ one, said, unreadable, selection, lists }: Behind): boolean =>
    one.cache.status().lists > lists || heldVersions(one, selection, unreadable) === said;

  /** A kind that does not answer takes nothing from what the others have said. */
  async function ask(namespace: string, silent: readonly FollowedKind[]): Promise<void> {
    const { behind, failures, askedMs } = await look(namespace, silent);
    if (behind.length > 0) {
      const names = behind.map(({ one }) => one.kind.kind);
      log.warn({ kinds: names, namespace }, "a watch had fallen silent and missed changes: listed anew");
      const endMs = askedMs + caughtUpWithinMs;
      for (let left = behind; left.length > 0; left = left.filter((one) => !hasCaughtUp(one))) {
        if (performance.now() >= endMs || signal.aborted) throw unknown(`${names.join(", ")} not heard of again`);
        await pause(lookMs, signal);
      }
      for (const { one } of behind) keepNewest(agreed, agreedKey(namespace, one.kind), askedMs, agreedMax);
    }
    // That it does not answer is an outage, in which what is known goes on.
    const failure = failures.find((error) => !isFault(error, "kube-unreachable"));
    if (failure !== undefined) throw unknown(describe(failure));
  }

  return async (namespace) => {
    for (let silent = silentIn(namespace); silent.length > 0; silent = silentIn(namespace)) {
      const begun = asking.get(namespace);
      if (begun !== undefined) return begun;
      if (asking.size < asksMax) {
        const own = ask(namespace, silent).finally(() => asking.delete(namespace));
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

/** Without what a cache keeps of objects whose newest version cannot be read: it is all that is known of them. */
function heldVersions({ cache }: FollowedKind, selection: Selection, unreadable: readonly Identity[]): string {
  const kept = new Map(unreadable.map((identity) => [keyOf(identity), identity.uid]));
  const isKept = ({ metadata }: KubeObject): boolean =>
    metadata.uid !== undefined && kept.get(keyOf(metadata)) === metadata.uid;
  return versions(cache.all().filter((object) => isWithin(object, selection) && !isKept(object)));
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

// The members of one membership, counted as pods come and go.

import { endpointId, type Members, type SliceEndpoint } from "./slices.ts";

export interface Tally {
  /** A pod that is not there yet, by its name, with where it is reached. */
  add(pod: string, endpoints: readonly SliceEndpoint[]): void;
  /** One that is, with the endpoints that it came with. */
  remove(pod: string, endpoints: readonly SliceEndpoint[]): void;
  /** Names of the pods that are there. */
  pods: ReadonlySet<string>;
  /** What is reached now: the same object until a pod comes or goes, and of no use after that. */
  members(): Members;
}

interface Claim {
  pod: string;
  endpoint: SliceEndpoint;
}

/** An empty one. */
export function createTally(): Tally {
  const pods = new Set<string>();
  /** Of each id who says to have it, by name. Where two do, the one counts whose name comes first. */
  const claims = new Map<string, readonly [Claim, ...Claim[]]>();
  const view = (): Members => ({
    get: (id) => claims.get(id)?.[0].endpoint,
    has: (id) => claims.has(id),
    keys: () => claims.keys(),
    get size() {
      return claims.size;
    },
  });
  let members = view();
  return {
    add: (pod, endpoints) => {
      members = view();
      pods.add(pod);
      for (const endpoint of endpoints) {
        const [id, claim] = [endpointId(endpoint), { pod, endpoint }];
        const [first, ...more] = [...(claims.get(id) ?? []), claim].toSorted((a, b) => (a.pod < b.pod ? -1 : 1));
        claims.set(id, [first ?? claim, ...more]);
      }
    },
    remove: (pod, endpoints) => {
      members = view();
      pods.delete(pod);
      for (const endpoint of endpoints) {
        const id = endpointId(endpoint);
        const [first, ...more] = (claims.get(id) ?? []).filter((claim) => claim.pod !== pod);
        if (first === undefined) claims.delete(id);
        else claims.set(id, [first, ...more]);
      }
    },
    pods,
    members: () => members,
  };
}

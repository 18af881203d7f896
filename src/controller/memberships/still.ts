// Objects as they were at one moment: what is judged by them goes on to be judged by them, whatever caches hear meanwhile.

import type { KubeObject } from "../../kube/contract.ts";

/** As much of a cache as reads of it need. */
export interface Still<T> {
  all(): readonly T[];
  /** Of kinds in no namespace. */
  get(ref: { name: string }): T | undefined;
}

/** Holds these. */
export function still<T extends KubeObject>(objects: readonly T[]): Still<T> {
  let byName: ReadonlyMap<string, T> | undefined;
  return {
    all: () => objects,
    get: ({ name }) => (byName ??= new Map(objects.map((object) => [object.metadata.name, object]))).get(name),
  };
}

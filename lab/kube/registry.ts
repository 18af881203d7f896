// Which kinds there are: the built-in ones and those of CustomResourceDefinitions, found by the words of a path.

import type { Resource } from "./resource.ts";

export interface Registry {
  find(group: string, version: string, plural: string): Resource | undefined;
  /** A kind as an owner reference names it. */
  byKind(apiVersion: string, kind: string): Resource | undefined;
  all(): Resource[];
  /** Puts a kind in; one of the same names is replaced. */
  add(resource: Resource): void;
  /** Takes out every version of a kind. */
  drop(group: string, plural: string): void;
}

const nameOf = (group: string, version: string, plural: string): string => `${group}/${version}/${plural}`;

export function createRegistry(builtIn: readonly Resource[]): Registry {
  const resources = new Map<string, Resource>();
  const add = (each: Resource): void => void resources.set(nameOf(each.group, each.version, each.plural), each);
  for (const each of builtIn) add(each);
  return {
    add,
    find: (group, version, plural) => resources.get(nameOf(group, version, plural)),
    byKind: (apiVersion, kind) => {
      const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
      return [...resources.values()].find(
        (each) => each.group === group && each.version === version && each.kind === kind,
      );
    },
    all: () => [...resources.values()],
    drop: (group, plural) => {
      for (const [name, each] of resources) if (each.group === group && each.plural === plural) resources.delete(name);
    },
  };
}

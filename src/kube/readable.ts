// A list in which an object that cannot be read is named and left out, as caches leave it out: one odd object must not hide all the others.

import type { Kind, Kube, KubeObject, ListOptions } from "./contract.ts";
import { ifThere } from "./if-there.ts";
import { type Identity, identityOf } from "./path.ts";

export interface Readable<T> {
  items: T[];
  /** Those that are there and cannot be read. */
  unreadable: Identity[];
}

/** An object, where it can be read. */
interface Perhaps<T> extends KubeObject {
  object?: T;
}

/** Lists a kind. @throws what the API server says, and "kube-answer" where something has no name */
export async function listReadable<T extends KubeObject>(
  kube: Pick<Kube, "list">,
  kind: Kind<T>,
  options: ListOptions,
): Promise<Readable<T>> {
  const { items } = await kube.list(perhaps(kind), options);
  return {
    items: items.flatMap(({ object }) => object ?? []),
    unreadable: items.flatMap(({ metadata, object }) => (object === undefined ? [metadata] : [])),
  };
}

/** The same of a kind that the server may not know: then there is nothing of it. */
export async function listReadableIfKnown<T extends KubeObject>(
  ...asked: Parameters<typeof listReadable<T>>
): Promise<Readable<T>> {
  return (await ifThere(listReadable(...asked))) ?? { items: [], unreadable: [] };
}

const perhaps = <T extends KubeObject>(kind: Kind<T>): Kind<Perhaps<T>> => ({
  ...kind,
  parse: (raw) => {
    const metadata = identityOf(raw);
    if (metadata === undefined) return { metadata: kind.parse(raw).metadata };
    try {
      return { metadata, object: kind.parse(raw) };
    } catch {
      return { metadata }; // its cache has logged why
    }
  },
});

// Where a kind's objects are on the server, and what of an object can be read whatever its kind.

import { assert } from "../base/assert.ts";
import type { Kind, KubeObject, ObjectRef, Selection } from "./contract.ts";

type Named = Pick<Kind<KubeObject>, "group" | "version" | "plural" | "namespaced">;

/** "v1", "apps/v1". */
export const apiVersionOf = ({ group, version }: Pick<Named, "group" | "version">): string =>
  group === "" ? version : `${group}/${version}`;

/** The path of a kind's collection, of one namespace where one is given. */
export function collectionPath(kind: Named, namespace: string | undefined): string {
  const root = kind.group === "" ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  if (namespace === undefined) return `${root}/${kind.plural}`;
  assert(kind.namespaced, `${kind.plural} are in no namespace; one was given`);
  return `${root}/namespaces/${segment(namespace)}/${kind.plural}`;
}

/** The path of one object. */
export function objectPath(kind: Named, { name, namespace }: ObjectRef, subresource?: string): string {
  assert(!kind.namespaced || namespace !== undefined, `${kind.plural} are named with their namespace; none was given`);
  const tail = subresource === undefined ? "" : `/${subresource}`;
  return `${collectionPath(kind, namespace)}/${segment(name)}${tail}`;
}

/** A name as one piece of a path: never a piece that changes where the path leads. */
function segment(name: string): string {
  assert(name !== "" && name !== "." && name !== "..", `a name is ${JSON.stringify(name)}`);
  return encodeURIComponent(name);
}

/** The query of a selection. */
export const selectionQuery = ({
  labelSelector,
  fieldSelector,
}: Selection): Record<"labelSelector" | "fieldSelector", string | undefined> => ({ labelSelector, fieldSelector });

/** An object's name among those of its kind. */
export const keyOf = ({ name, namespace = "" }: ObjectRef): string => `${namespace}/${name}`;

/** What names an object and its version. */
export interface Identity {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
}

/** Reads that of any object, also of one whose kind cannot be read; undefined where it has no name. */
export function identityOf(raw: unknown): Identity | undefined {
  const metadata = member(raw, "metadata");
  const text = (key: string): string | undefined => {
    const value = member(metadata, key);
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const [name, namespace, uid, resourceVersion] = ["name", "namespace", "uid", "resourceVersion"].map(text);
  if (name === undefined) return undefined;
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}

/** The value under a key that the object itself has. */
export function member(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
  return Reflect.get(value, key);
}

// What the server knows of a kind: its names, and the rules by which its objects are written.

import type { SelectableFields } from "./selectors.ts";
import type { Cause, Named } from "./status.ts";
import type { JsonObject } from "./value.ts";

/** A column of `kubectl get`. */
export interface Column {
  name: string;
  type: string;
  description?: string;
  format?: string;
  /** Above 0: shown by `-o wide` only. */
  priority?: number;
  /** The cell of an object. */
  cell: (object: JsonObject) => string | number | boolean;
}

/** One kind in one version, as requests name it. */
export interface Resource extends Named {
  version: string;
  singular: string;
  listKind: string;
  shortNames: readonly string[];
  categories: readonly string[];
  namespaced: boolean;
  /** Status is written by its own path only. */
  hasStatus: boolean;
  /** metadata.generation counts changes of what is neither metadata nor status. */
  countsGeneration: boolean;
  /** PUT makes what is not there. */
  putCreates: boolean;
  /** PUT without resourceVersion overwrites. */
  putUnconditionally: boolean;
  /** An immediate DELETE answers with the object instead of a Status. */
  deleteGivesObject: boolean;
  /** Not made by a CustomResourceDefinition: takes strategic merge patches. */
  builtIn: boolean;
  fields: SelectableFields;
  /** Besides name and age. */
  columns: readonly Column[];
  rules: Rules;
}

/** What an object goes through on its way into the store. Each may change `object`, which is the writer's own copy. */
export interface Rules {
  /** Settles what a new object has that its maker did not say. */
  prepareCreate?(object: JsonObject): void;
  /** Puts back what an update must not touch. */
  prepareUpdate?(object: JsonObject, before: JsonObject): void;
  /** The same for a write to the status subresource: everything but status is already as before. */
  prepareStatus?(object: JsonObject, before: JsonObject): void;
  /** Cuts off what the kind does not know and fills in defaults. Gives the paths of what was unknown. */
  shape?(object: JsonObject): string[];
  /** What is wrong with the object; with the one before, what may not change. */
  validate?(object: JsonObject, before?: JsonObject): Cause[];
  /** Told after a write or removal is in the store. */
  stored?(object: JsonObject, event: "written" | "removed"): void;
}

/** Where objects of a resource stand in the store, whatever version they are asked for in. */
export const shelfOf = ({ group, plural }: Named): string => `${group}/${plural}`;

/** The store's key of an object. */
export const keyOf = (namespace: string | undefined, name: string): string =>
  namespace === undefined ? name : `${namespace}/${name}`;

export const apiVersionOf = ({ group, version }: Pick<Resource, "group" | "version">): string =>
  group === "" ? version : `${group}/${version}`;

// Tables, as kubectl asks for them: an object's cells are made here, so that kubectl need not know the kind.

import { age } from "./age.ts";
import type { Page } from "./list.ts";
import type { Column, Resource } from "./resource.ts";
import { type Json, type JsonObject, objectAt, textAt } from "./value.ts";

const nameColumn: Column = {
  name: "Name",
  type: "string",
  format: "name",
  description: "Name must be unique within a namespace.",
  cell: (object) => textAt(object, "metadata", "name") ?? "",
};
const ageColumn: Column = {
  name: "Age",
  type: "string",
  description: "How long the object is there.",
  cell: (object) => age(textAt(object, "metadata", "creationTimestamp")),
};

/** Of a kind with columns of its own definition, the age is one only where it says so. */
const columnsOf = ({ columns, builtIn }: Resource): Column[] => [
  nameColumn,
  ...columns,
  ...(builtIn || columns.length === 0 ? [ageColumn] : []),
];

/** True where the client would rather have a Table. */
export const wantsTable = (accept: string): boolean => {
  const [first = ""] = accept.split(",");
  return /\bas=Table\b/.test(first) && /\bg=meta\.k8s\.io\b/.test(first);
};

export interface TableWish {
  /** What each row carries of its object: all, metadata only, or nothing. */
  includeObject: string;
  /** Left out in later events of a watch. */
  headings: boolean;
  metadata: JsonObject;
}

export function table(resource: Resource, objects: readonly JsonObject[], wish: TableWish): JsonObject {
  const columns = columnsOf(resource);
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: wish.metadata,
    columnDefinitions: wish.headings ? columns.map(definition) : [],
    rows: objects.map((object) => ({
      cells: columns.map(({ cell }): Json => cell(object)),
      ...carried(object, wish.includeObject),
    })),
  };
}

export function tableOfPage(
  resource: Resource,
  { version, items, continue: token }: Page,
  includeObject: string,
): JsonObject {
  const metadata = { resourceVersion: String(version), ...(token === undefined ? {} : { continue: token }) };
  return table(
    resource,
    items.map(({ object }) => object),
    { includeObject, headings: true, metadata },
  );
}

const definition = ({ name, type, format = "", description = "", priority = 0 }: Column): JsonObject => ({
  name,
  type,
  format,
  description,
  priority,
});

function carried(object: JsonObject, includeObject: string): JsonObject {
  if (includeObject === "None") return {};
  if (includeObject === "Object") return { object };
  return {
    object: { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: objectAt(object, "metadata") },
  };
}

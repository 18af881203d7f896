// CustomResourceDefinitions: what one may say, and the kinds that come and go with them.

import { completeKind } from "./kinds.ts";
import type { Registry } from "./registry.ts";
import { type Resource, type Rules, shelfOf } from "./resource.ts";
import type { Store } from "./store.ts";
import { readSchema } from "./schema.ts";
import type { Schema } from "./schema-types.ts";
import { fillDefaults, prune } from "./schema-shape.ts";
import { schemaCauses } from "./schema-validate.ts";
import { printerColumns } from "./printer-columns.ts";
import { type Cause, wrong } from "./status.ts";
import { type Json, type JsonObject, at, clone, listAt, objectAt, textAt, textsAt } from "./value.ts";
import { timestamp } from "./writes.ts";

export const crdGroup = "apiextensions.k8s.io";

/** The kind of CustomResourceDefinitions; writing one changes `registry`, and begins a shelf of `store`. */
export function crdKind(registry: Registry, store: Pick<Store, "begin" | "list" | "remove">): Resource {
  return completeKind(crdGroup, "v1", {
    plural: "customresourcedefinitions",
    kind: "CustomResourceDefinition",
    shortNames: ["crd", "crds"],
    categories: ["api-extensions"],
    namespaced: false,
    hasStatus: true,
    countsGeneration: true,
    putUnconditionally: false,
    rules: crdRules(registry, store),
  });
}

function crdRules(registry: Registry, store: Pick<Store, "begin" | "list" | "remove">): Rules {
  return {
    prepareCreate: (object) => {
      object["spec"] = withDefaults(objectAt(object, "spec"));
      object["status"] = status(object);
    },
    prepareUpdate: (object) => {
      object["spec"] = withDefaults(objectAt(object, "spec"));
      object["status"] = { ...objectAt(object, "status"), ...status(object) };
    },
    validate: (object, before) => [
      ...specCauses(object),
      ...(before === undefined ? [] : changeCauses(object, before)),
    ],
    stored: (object, event) => {
      const kinds = kindsOf(object);
      const [first] = kinds;
      const isNew = first !== undefined && registry.find(first.group, first.version, first.plural) === undefined;
      registry.drop(textAt(object, "spec", "group") ?? "", textAt(object, "spec", "names", "plural") ?? "");
      if (event === "removed") {
        if (first !== undefined)
          for (const { key } of store.list(shelfOf(first)) ?? []) store.remove(shelfOf(first), key);
        return;
      }
      for (const kind of kinds) registry.add(kind);
      if (isNew) store.begin(shelfOf(first));
    },
  };
}

function withDefaults(spec: JsonObject): JsonObject {
  const names = objectAt(spec, "names");
  const kind = textAt(names, "kind") ?? "";
  return {
    ...spec,
    names: { singular: kind.toLowerCase(), listKind: `${kind}List`, ...names },
    conversion:
      objectAt(spec, "conversion")["strategy"] === undefined ? { strategy: "None" } : objectAt(spec, "conversion"),
  };
}

/** Names are taken and served at once: nothing competes for them here. */
function status(object: JsonObject): JsonObject {
  const lastTransitionTime = timestamp();
  const stored = listAt(object, "spec", "versions").filter((each) => at(each, "storage") === true);
  return {
    acceptedNames: objectAt(object, "spec", "names"),
    storedVersions: stored.map((each) => textAt(each, "name") ?? ""),
    conditions: [
      {
        type: "NamesAccepted",
        status: "True",
        reason: "NoConflicts",
        message: "no conflicts found",
        lastTransitionTime,
      },
      {
        type: "Established",
        status: "True",
        reason: "InitialNamesAccepted",
        message: "the initial names have been accepted",
        lastTransitionTime,
      },
    ],
  };
}

function specCauses(object: JsonObject): Cause[] {
  const spec = objectAt(object, "spec");
  const [group = "", plural = "", kind = ""] = [
    textAt(spec, "group"),
    textAt(spec, "names", "plural"),
    textAt(spec, "names", "kind"),
  ];
  const causes: Cause[] = [];
  if (group === "") causes.push(wrong.missing("spec.group"));
  if (plural === "") causes.push(wrong.missing("spec.names.plural"));
  if (kind === "") causes.push(wrong.missing("spec.names.kind"));
  const name = textAt(object, "metadata", "name") ?? "";
  if (name !== `${plural}.${group}`)
    causes.push(wrong.value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'));
  const scope = textAt(spec, "scope") ?? "";
  if (scope !== "Cluster" && scope !== "Namespaced")
    causes.push(
      scope === "" ? wrong.missing("spec.scope") : wrong.unsupported("spec.scope", scope, ["Cluster", "Namespaced"]),
    );
  const versions = listAt(spec, "versions");
  if (versions.filter((each) => at(each, "storage") === true).length !== 1)
    causes.push(
      wrong.value("spec.versions", versions.length, "must have exactly one version marked as storage version"),
    );
  versions.forEach((version, index) => {
    const field = `spec.versions[${index}].schema.openAPIV3Schema`;
    const schema = at(version, "schema", "openAPIV3Schema");
    if (schema === undefined) causes.push(wrong.missing(field, "schemas are required"));
    else readSchema(schema, field, causes);
  });
  return causes;
}

function changeCauses(object: JsonObject, before: JsonObject): Cause[] {
  return (["group", "scope"] as const).flatMap((part) => {
    const [now, was] = [textAt(object, "spec", part), textAt(before, "spec", part)];
    return now === was ? [] : [wrong.value(`spec.${part}`, now ?? "", "field is immutable")];
  });
}

function kindsOf(object: JsonObject): Resource[] {
  const names = objectAt(object, "spec", "names");
  const served = listAt(object, "spec", "versions").filter((each) => at(each, "served") === true);
  return served.map((version) => versionKind(object, names, version));
}

function versionKind(object: JsonObject, names: JsonObject, version: Json): Resource {
  const hasStatus = at(version, "subresources", "status") !== undefined;
  return completeKind(textAt(object, "spec", "group") ?? "", textAt(version, "name") ?? "", {
    plural: textAt(names, "plural") ?? "",
    kind: textAt(names, "kind") ?? "",
    singular: textAt(names, "singular") ?? "",
    listKind: textAt(names, "listKind") ?? "",
    shortNames: textsAt(names, "shortNames"),
    categories: textsAt(names, "categories"),
    namespaced: textAt(object, "spec", "scope") === "Namespaced",
    hasStatus,
    countsGeneration: true,
    putUnconditionally: false,
    builtIn: false,
    columns: printerColumns(listAt(version, "additionalPrinterColumns")),
    rules: schemaRules(readSchema(at(version, "schema", "openAPIV3Schema"), "", []), hasStatus),
  });
}

/** An object of the kind is cut to its schema, filled up by it, and judged by it. */
function schemaRules(schema: Schema, hasStatus: boolean): Rules {
  return {
    prepareCreate: (object) => {
      if (hasStatus) delete object["status"];
    },
    shape: (object) => {
      for (const [key, value] of Object.entries(object)) object[key] = clone(value);
      const unknown = prune(object, schema);
      fillDefaults(object, schema);
      return unknown;
    },
    validate: (object, before) => schemaCauses(object, schema, before),
  };
}

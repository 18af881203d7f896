// deploy/crds.yaml is what the schemas give, in the form that an API server takes: structural, and bounded so that rules have a cost.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { z } from "zod";
import { crdsFile, crdsText, ownKinds, structuralSchema } from "./crds.ts";

test("deploy/crds.yaml is made from the schemas; node tools/crds.ts makes it anew", () => {
  assert.equal(readFileSync(crdsFile, "utf8"), crdsText());
});

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema;
  maxProperties?: number;
  pattern?: string;
  maxLength?: number;
  maxItems?: number;
  enum?: unknown[];
  format?: string;
  required?: string[];
  description?: string;
  [key: string]: unknown;
}

/** Every schema in `schema` that the API server leaves to us, with its path. */
function* nodesOf(schema: Schema, path: string): Generator<[string, Schema]> {
  yield [path, schema];
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    if (path !== "" || !["apiVersion", "kind", "metadata"].includes(name)) yield* nodesOf(child, `${path}.${name}`);
  }
  if (schema.additionalProperties !== undefined) yield* nodesOf(schema.additionalProperties, `${path}{}`);
  if (schema.items !== undefined) yield* nodesOf(schema.items, `${path}[]`);
}

test("each schema is structural: a type everywhere, nothing that a server refuses", () => {
  const refused = ["$ref", "$schema", "definitions", "anyOf", "oneOf", "not", "const"];
  for (const own of ownKinds) {
    for (const [path, node] of nodesOf(structuralSchema(own), "")) {
      const place = `${own.kind.kind}${path}`;
      assert.ok(node.type !== undefined, `${place} has a type`);
      for (const key of refused) assert.ok(!(key in node), `${place} has no ${key}`);
      // The server's expressions look neither ahead nor behind, nor back at what they found.
      assert.doesNotMatch(node.pattern ?? "", /\(\?[=!<]|\\[1-9]/, place);
    }
  }
});

test("each text, list and number has what the server needs to bound it", () => {
  for (const own of ownKinds) {
    for (const [path, node] of nodesOf(structuralSchema(own), "")) {
      const place = `${own.kind.kind}${path}`;
      if (node.type === "string" && node.enum === undefined)
        assert.ok(node.maxLength !== undefined, `${place}: maxLength`);
      if (node.additionalProperties !== undefined)
        assert.ok(node.maxProperties !== undefined, `${place}: maxProperties`);
      if (node.type === "array") {
        assert.ok(node.maxItems !== undefined, `${place}: maxItems`);
        assert.ok(node["x-kubernetes-list-type"] !== undefined, `${place}: list type`);
      }
      if (node.type === "integer") assert.equal(node.format, "int64", place);
    }
  }
});

test("what zod says of every integer is left out, what a schema says of one is kept", () => {
  const schema = z.object({ spec: z.object({ plain: z.int(), small: z.int().min(8).max(128) }) });
  const made = structuralSchema({ schema, description: "one" }) as Schema;
  assert.deepEqual(made.properties?.["spec"]?.properties, {
    plain: { type: "integer", format: "int64" },
    small: { type: "integer", format: "int64", minimum: 8, maximum: 128 },
  });
});

// Kinds that a CustomResourceDefinition makes: names, defaults, pruning, bounds, lists, rules, status, and how a watch of one expires.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { refused } from "./kube-objects.contract.ts";
import {
  type Obj,
  type Reply,
  type Value,
  type Wire,
  look,
  made,
  metadata,
  textOf,
  uniqueName,
  version,
} from "./kube-wire.ts";
import { until } from "./until.ts";

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

const text = (part: Obj = {}): Obj => ({ type: "string", maxLength: 63, ...part });
const rule = (one: string, message: string): Obj => ({ rule: one, message });

/** A schema with each thing that ours use, and some more. */
const spec: Obj = {
  type: "object",
  required: ["size"],
  "x-kubernetes-validations": [rule("self.fixed == oldSelf.fixed", "fixed cannot change")],
  properties: {
    size: { type: "integer", minimum: 1, maximum: 10 },
    fixed: text({ default: "once" }),
    mode: text({ enum: ["a", "b"], default: "a" }),
    ratio: { type: "number" },
    named: text({ pattern: "^[a-z]+$", minLength: 2 }),
    network: text({
      "x-kubernetes-validations": [rule("isCIDR(self) && cidr(self) == cidr(self).masked()", "no network")],
    }),
    set: { type: "array", maxItems: 4, "x-kubernetes-list-type": "set", items: text() },
    map: {
      type: "array",
      maxItems: 4,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["key"],
      items: {
        type: "object",
        required: ["key"],
        "x-kubernetes-validations": [rule("!has(oldSelf.value) || self.value == oldSelf.value", "value cannot change")],
        properties: { key: text(), value: text(), n: { type: "integer", default: 7 } },
      },
    },
    addresses: {
      type: "array",
      maxItems: 4,
      items: text({ "x-kubernetes-validations": [rule("isIP(self)", "no address")] }),
    },
    free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    tags: { type: "object", maxProperties: 2, additionalProperties: text() },
    either: { "x-kubernetes-int-or-string": true },
    nothing: { ...text(), nullable: true },
    when: text({ format: "date-time" }),
  },
};

interface Definition {
  group: string;
  kind: string;
  body: Obj;
  /** Of its objects. */
  path: string;
}

function definition(change: Obj = {}, status: Obj = { subresources: { status: {} } }): Definition {
  const kind = `Kind${uniqueName("").replaceAll("-", "")}`;
  const plural = `${kind.toLowerCase()}s`;
  const group = "contract.fairlead.dev";
  const schema = {
    type: "object",
    properties: {
      spec: { ...spec, ...change },
      status: { type: "object", properties: { seen: { type: "integer" }, other: text() } },
    },
  };
  return {
    group,
    kind,
    path: `/apis/${group}/v1/${plural}`,
    body: {
      metadata: { name: `${plural}.${group}` },
      spec: {
        group,
        scope: "Cluster",
        names: { plural, kind, shortNames: [`sh${plural}`] },
        versions: [
          {
            name: "v1",
            served: true,
            storage: true,
            schema: { openAPIV3Schema: schema },
            ...status,
            additionalPrinterColumns: [
              { name: "Size", type: "integer", jsonPath: ".spec.size" },
              { name: "First", type: "string", jsonPath: ".spec.map[0].key" },
            ],
          },
        ],
      },
    },
  };
}

/** Makes the kind and waits until it is served; removed after the test. */
async function serve(
  wire: Wire,
  t: TestContext,
  one = definition(),
): Promise<{ kind: string; path: string; crd: Obj }> {
  const crd = await made(wire, definitions, one.body);
  t.after(() => wire.call("DELETE", `${definitions}/${textOf(one.body, "metadata", "name")}`));
  await until("the kind is served", async () => (await wire.call("GET", one.path)).status === 200);
  return { kind: one.kind, path: one.path, crd };
}

/** A new kind, and what makes and changes objects of it. */
async function served(wire: Wire, t: TestContext) {
  const { kind, path, crd } = await serve(wire, t);
  const body = (each: string, part: Obj): Obj => ({
    apiVersion: "contract.fairlead.dev/v1",
    kind,
    metadata: { name: each },
    spec: { size: 1, ...part },
  });
  const create = (each: string, part: Obj, query = ""): Promise<Reply> =>
    wire.call("POST", path + query, { body: body(each, part) });
  const patch = (each: string, part: Obj): Promise<Reply> =>
    wire.call("PATCH", `${path}/${each}`, { body: { spec: part } });
  return { kind, path, crd, body, create, patch };
}

export function testCustomKinds(name: string, wire: () => Wire): void {
  test(`${name}: a kind is there with its names, and gone with its definition`, async (t) => {
    const { kind, path, create } = await served(wire(), t);
    let entry: Obj | undefined;
    // A server lists a kind a moment after it has begun to serve it.
    await until("the kind is listed", async () => {
      const found = await wire().call("GET", "/apis/contract.fairlead.dev/v1");
      entry = ((found.body["resources"] ?? []) as Obj[]).find(
        (each) => each["kind"] === kind && !textOf(each, "name").includes("/"),
      );
      return entry !== undefined;
    });
    assert.deepEqual(
      [entry?.["namespaced"], entry?.["singularName"], entry?.["shortNames"]],
      [false, kind.toLowerCase(), [`sh${kind.toLowerCase()}s`]],
    );
    assert.equal((await create("a", {})).status, 201);
    assert.deepEqual((await wire().call("GET", path)).body["kind"], `${kind}List`);
    await wire().call("DELETE", `${definitions}/${kind.toLowerCase()}s.contract.fairlead.dev`);
    await until("the kind is gone", async () => (await wire().call("GET", path)).status === 404);
  });

  test(`${name}: defaults come, unknown fields go, and strict callers are told`, async (t) => {
    const { create, path, body } = await served(wire(), t);
    const created = await create("a", { unknown: 1, map: [{ key: "k", odd: 2 }], free: { any: { thing: 1 } } });
    assert.deepEqual(created.body["spec"], {
      size: 1,
      fixed: "once",
      mode: "a",
      map: [{ key: "k", n: 7 }],
      free: { any: { thing: 1 } },
    });
    const warned = await create("b", { unknown: 1 }, "?fieldValidation=Warn");
    assert.match(String(warned.headers["warning"]), /unknown field \\?"spec.unknown\\?"/);
    const strict = await create("c", { unknown: 1, map: [{ key: "k", odd: 2 }] }, "?fieldValidation=Strict");
    assert.match(refused(strict, 400, "BadRequest"), /strict decoding error: .*unknown field "spec.unknown"/);
    const { apiVersion: _, ...bare } = body("d", {});
    refused(await wire().call("POST", path, { body: bare }), 400, "BadRequest");
  });

  test(`${name}: what a schema forbids is refused with field and reason`, async (t) => {
    const { create } = await served(wire(), t);
    const cases: [part: Obj, reason: string, field: string][] = [
      [{ size: "1" }, "FieldValueTypeInvalid", "spec.size"],
      [{ size: 1.5 }, "FieldValueTypeInvalid", "spec.size"],
      [{ size: 0 }, "FieldValueInvalid", "spec.size"],
      [{ size: 11 }, "FieldValueInvalid", "spec.size"],
      [{ mode: "c" }, "FieldValueNotSupported", "spec.mode"],
      [{ named: "UPPER" }, "FieldValueInvalid", "spec.named"],
      [{ named: "x" }, "FieldValueInvalid", "spec.named"],
      [{ fixed: "x".repeat(64) }, "FieldValueTooLong", "spec.fixed"],
      [{ set: ["a", "b", "a"] }, "FieldValueDuplicate", "spec.set[2]"],
      [{ set: ["a", "b", "c", "d", "e"] }, "FieldValueTooMany", "spec.set"],
      [{ map: [{ key: "k" }, { key: "k" }] }, "FieldValueDuplicate", "spec.map[1]"],
      [{ map: [{ value: "v" }] }, "FieldValueRequired", "spec.map[0].key"],
      [{ network: "10.4.1.1/24" }, "FieldValueInvalid", "spec.network"],
      [{ network: "10.4.1.0" }, "FieldValueInvalid", "spec.network"],
      [{ addresses: ["10.0.0.1", "10.0.0.256"] }, "FieldValueInvalid", "spec.addresses[1]"],
      [{ tags: { a: "1", b: "2", c: "3" } }, "FieldValueTooMany", "spec.tags"],
      [{ either: true }, "FieldValueTypeInvalid", "spec.either"],
      [{ when: "yesterday" }, "FieldValueTypeInvalid", "spec.when"],
    ];
    for (const [part, reason, field] of cases) {
      const reply = await create("a", part);
      refused(reply, 422, "Invalid");
      const causes = ((look(reply.body, "details", "causes") ?? []) as Obj[]).map((each) => [
        each["reason"],
        each["field"],
      ]);
      assert.deepEqual(causes[0], [reason, field], `${JSON.stringify(part)}: ${JSON.stringify(reply.body)}`);
    }
    const good = {
      network: "fd00:4::/64",
      addresses: ["fd00::1"],
      either: "x",
      nothing: null,
      when: "2026-01-02T03:04:05Z",
      tags: { a: "" },
    };
    const created = await create("a", good);
    assert.equal(created.status, 201, JSON.stringify(created.body));
    const missing = await create("b", { size: null });
    refused(missing, 422, "Invalid");
  });

  test(`${name}: rules are told in their own words, and compare with what was`, async (t) => {
    const { create, patch } = await served(wire(), t);
    await create("a", { map: [{ key: "k", value: "v" }] });
    const changed = await patch("a", { fixed: "again" });
    assert.match(refused(changed, 422, "Invalid"), /spec: Invalid value: .*fixed cannot change/);
    const item = await patch("a", { map: [{ key: "other" }, { key: "k", value: "w" }] });
    assert.match(refused(item, 422, "Invalid"), /spec\.map\[1\]: Invalid value: .*value cannot change/);
    assert.equal((await patch("a", { map: [{ key: "other" }, { key: "k", value: "v" }] })).status, 200);
  });

  test(`${name}: what was let in before a rule stays until it is changed`, async (t) => {
    const { create, patch, crd, path } = await served(wire(), t);
    await create("a", { named: "lower", set: ["x"] });
    const stricter = structuredClone(crd);
    const properties = look(
      stricter,
      "spec",
      "versions",
      0,
      "schema",
      "openAPIV3Schema",
      "properties",
      "spec",
      "properties",
    ) as Obj;
    properties["named"] = text({ pattern: "^[0-9]+$" });
    const current = await wire().call("GET", `${definitions}/${textOf(crd, "metadata", "name")}`);
    (stricter["metadata"] as Obj)["resourceVersion"] = version(current.body);
    const replaced = await wire().call("PUT", `${definitions}/${textOf(crd, "metadata", "name")}`, { body: stricter });
    assert.equal(replaced.status, 200, JSON.stringify(replaced.body));
    await until(
      "the new schema is in force",
      async () => (await create("probe", { named: "lower" }, "?dryRun=All")).status === 422,
    );
    assert.equal((await patch("a", { set: ["x", "y"] })).status, 200, "another field may change");
    refused(await patch("a", { named: "other" }), 422, "Invalid");
    assert.equal((await wire().call("GET", `${path}/a`)).status, 200);
  });
}

/** The same kinds in what they share with every other: versions, status, tables, watches; and definitions that are none. */
export function testCustomObjects(name: string, wire: () => Wire): void {
  test(`${name}: generation counts what is wished for; status has its own path`, async (t) => {
    const { create, path, patch } = await served(wire(), t);
    const created = await create("a", {});
    const generation = (object: Obj): Value => metadata(object)["generation"];
    assert.equal(generation(created.body), 1);
    const labelled = await wire().call("PATCH", `${path}/a`, { body: { metadata: { labels: { a: "b" } } } });
    const body = { status: { seen: 3, unknown: 4 }, spec: { size: 9 }, metadata: { labels: { a: "c" } } };
    const status = await wire().call("PATCH", `${path}/a/status`, { body });
    assert.deepEqual([status.status, status.body["status"], look(status.body, "spec", "size")], [200, { seen: 3 }, 1]);
    assert.equal(look(status.body, "metadata", "labels", "a"), "b", "a status write changes no labels");
    assert.deepEqual([generation(labelled.body), generation(status.body)], [1, 1]);
    const grown = await patch("a", { size: 2 });
    assert.deepEqual([generation(grown.body), look(grown.body, "status", "seen")], [2, 3]);
    const ignored = await wire().call("PATCH", `${path}/a`, { body: { status: { seen: 9 } } });
    assert.deepEqual([generation(ignored.body), version(ignored.body)], [2, version(grown.body)]);
    refused(await wire().call("PATCH", `${path}/a/status`, { body: { status: { seen: "x" } } }), 422, "Invalid");
    const born = await wire().call("POST", path, {
      body: { ...created.body, metadata: { name: "b" }, status: { seen: 1 } },
    });
    assert.deepEqual([born.status, look(born.body, "status")], [201, undefined], "nothing is born with a status");
  });

  test(`${name}: writes of these kinds need a version, and strategic merge is not for them`, async (t) => {
    const { create, path, body } = await served(wire(), t);
    await create("a", {});
    const blind = await wire().call("PUT", `${path}/a`, { body: body("a", { size: 2 }) });
    assert.match(
      refused(blind, 422, "Invalid"),
      /metadata.resourceVersion: Invalid value: .*must be specified for an update/,
    );
    const type = "application/strategic-merge-patch+json";
    const strategic = await wire().call("PATCH", `${path}/a`, { body: { spec: { size: 2 } }, type });
    refused(strategic, 415, "UnsupportedMediaType");
  });

  test(`${name}: a table has the definition's columns`, async (t) => {
    const { create, path } = await served(wire(), t);
    await create("a", { map: [{ key: "k" }] });
    const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    const { body } = await wire().call("GET", path, { headers: { accept } });
    assert.equal(body["kind"], "Table");
    assert.deepEqual(
      ((body["columnDefinitions"] ?? []) as Obj[]).map((each) => each["name"]),
      ["Name", "Size", "First"],
    );
    assert.deepEqual(look(body, "rows", 0, "cells"), ["a", 1, "k"]);
    assert.equal(look(body, "rows", 0, "object", "kind"), "PartialObjectMetadata");
  });

  test(`${name}: a version that is long gone is told as an error event of code 410`, async (t) => {
    const { path } = await served(wire(), t);
    const watching = await wire().watch(`${path}?watch=1&resourceVersion=1`);
    t.after(() => watching.close());
    const event = await watching.next();
    assert.deepEqual(
      [event?.type, event?.object["kind"], event?.object["code"], event?.object["reason"]],
      ["ERROR", "Status", 410, "Expired"],
    );
    assert.match(textOf(event?.object, "message"), /^too old resource version: 1 \(\d+\)$/);
    assert.equal(await watching.next(), undefined, "and the watch has ended");
  });

  test(`${name}: definitions that cannot be served are refused`, async () => {
    const wrong: [change: Obj, words: RegExp][] = [
      [{ properties: { a: {} } }, /type: Required value/],
      [{ properties: { a: { type: "thing" } } }, /Unsupported value: "thing"/],
      [{ properties: { a: { type: "array" } } }, /items: Required value/],
      [{ "x-kubernetes-validations": [rule("self.size ==", "m")] }, /compilation failed/],
      [{ "x-kubernetes-validations": [rule("self.sise == 1", "m")] }, /undefined field 'sise'/],
      [{ "x-kubernetes-validations": [rule("other == 1", "m")] }, /undeclared reference to 'other'/],
      [
        {
          properties: {
            a: {
              type: "array",
              maxItems: 2,
              items: { ...text(), "x-kubernetes-validations": [rule("self == oldSelf", "m")] },
            },
          },
        },
        /uncorrelatable/,
      ],
      [
        {
          properties: {
            a: {
              type: "array",
              "x-kubernetes-list-type": "map",
              "x-kubernetes-list-map-keys": ["k"],
              items: { type: "object", properties: { k: text() } },
            },
          },
        },
        /x-kubernetes-list-map-keys/,
      ],
    ];
    for (const [change, words] of wrong) {
      const reply = await wire().call("POST", definitions, { body: definition({ required: [], ...change }).body });
      assert.match(refused(reply, 422, "Invalid"), words);
    }
    const { body } = definition();
    const misnamed = { ...body, metadata: { name: "other.fairlead.dev" } };
    refused(await wire().call("POST", definitions, { body: misnamed }), 422, "Invalid");
  });
}

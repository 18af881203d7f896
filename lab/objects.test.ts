// Objects from files, put in place while others write them too.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { z } from "zod";
import { openWire } from "../test/kube-wire.ts";
import { accepted, type Api } from "./api.ts";
import { startApiServer } from "./kube/server.ts";
import { objectCalls } from "./objects.ts";

const path = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/deny-all";

/** A client of a server of its own; `beforePut` comes in between whenever an object was read and is to be replaced. */
async function connected(t: TestContext, beforePut: (api: Api) => Promise<void>): Promise<Api> {
  const server = await startApiServer({});
  const wire = openWire({ url: server.url });
  t.after(async () => {
    await wire.close();
    await server.close();
  });
  const ask: Api["ask"] = async (method, at, body, type) => {
    if (method === "PUT") await beforePut(api);
    return wire.call(method, at, { ...(body === undefined ? {} : { body }), ...(type === undefined ? {} : { type }) });
  };
  const api: Api = { ask, must: async (...call) => accepted(await ask(...call), `${call[0]} ${call[1]}`) };
  await api.must("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
  return api;
}

const mark = (api: Api, text: string): Promise<unknown> =>
  api.must("PATCH", path, { metadata: { annotations: { by: text } } }, "application/merge-patch+json");

void test("an object that another writes between reading and replacing it is read again", async (t) => {
  let writes = 0;
  const api = await connected(t, async (other) => {
    writes += 1;
    if (writes === 1) await mark(other, "another");
  });
  const { applyFile } = objectCalls(api);
  await applyFile("deny-all.yaml");
  await applyFile("deny-all.yaml");
  assert.equal(writes, 2);
  const { metadata } = z.object({ metadata: z.looseObject({}) }).parse(await api.must("GET", path));
  assert.equal(metadata["annotations"], undefined, "the file's content stands");
});

void test("an object that others never stop writing is told, with the file", async (t) => {
  let writes = 0;
  const api = await connected(t, async (other) => {
    writes += 1;
    await mark(other, `write ${writes}`);
  });
  const { applyFile } = objectCalls(api);
  await applyFile("deny-all.yaml");
  await assert.rejects(applyFile("deny-all.yaml"), (error: Error) => {
    assert.match(String(error.cause), /^Fault: PUT \S+deny-all was answered with 409: /);
    return error.message === "deny-all.yaml: NetworkPolicy deny-all";
  });
  assert.equal(writes, 10);
});

// A kind that a cluster may lack: looked for, followed while it is there, told as gone when it has gone.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { startApiServer } from "../../lab/kube/server.ts";
import { kindOfAws } from "../../test/controller/kinds.ts";
import { until } from "../../test/until.ts";
import { silentLog } from "../base/log.ts";
import { present } from "../base/assert.ts";
import { connect } from "./connect.ts";
import type { Cache, Kind, Kube, KubeObject } from "./contract.ts";
import { followOptional } from "./optional.ts";
import { type SecurityGroupPolicy, securityGroupPolicies } from "./policy-objects.ts";

const definitions: Kind<KubeObject> = {
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  namespaced: false,
  parse: (raw) => raw as KubeObject,
};
const definition = present(kindOfAws, "a definition");
const looks = { lookMs: 20, lookAgainMs: 10 };

interface Scene {
  kube: Kube;
  cache: Cache<SecurityGroupPolicy>;
  /** What was told: names that came, and with "-" those that went; "synced". */
  told: string[];
  stop: () => Promise<void>;
}

async function follow(t: TestContext, change: (kube: Kube) => Kube = (kube) => kube): Promise<Scene> {
  const server = await startApiServer();
  const kube = connect({ address: { server: server.url }, userAgent: "test" });
  const stopping = new AbortController();
  const told: string[] = [];
  const cache = followOptional(change(kube), securityGroupPolicies, {
    log: silentLog(),
    signal: stopping.signal,
    looks,
    onSynced: () => told.push("synced"),
    onChange: ({ before, after }) => {
      if (before === undefined) told.push(after?.metadata.name ?? "");
      if (after === undefined) told.push(`-${before?.metadata.name}`);
    },
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await cache.done;
  };
  t.after(async () => {
    await stop();
    await kube.close();
    await server.close();
  });
  return { kube, cache, told, stop };
}

const policy = { metadata: { name: "web", namespace: "default" }, spec: {} };
const ref = policy.metadata;

test("without the kind it is a whole cache that holds nothing; the kind that comes is followed; one that goes is told as gone", async (t) => {
  const { kube, cache, told, stop } = await follow(t);
  await cache.whenSynced(5_000, new AbortController().signal);
  assert.deepEqual([cache.all(), cache.status().objects, cache.synced(), told], [[], 0, true, ["synced"]]);
  await kube.create(definitions, definition);
  await kube.create(securityGroupPolicies, policy);
  await until("the policy is known", () => cache.get(ref) !== undefined);
  assert.ok(told.includes("web"));
  await kube.remove(definitions, { name: definition.metadata.name });
  await until("it is told as gone", () => told.at(-1) === "-web" && cache.all().length === 0);
  await until("the cache is whole again", () => cache.synced());
  await stop();
});

test("as long as nobody says whether the kind is there, nothing is known", async (t) => {
  let down = true;
  const { cache } = await follow(t, (kube) => ({
    ...kube,
    raw: (path, options) => (down ? Promise.reject(new Error("down")) : kube.raw(path, options)),
  }));
  const waiting = cache.whenSynced(50, new AbortController().signal);
  await assert.rejects(waiting, /whether there are securitygrouppolicies has not been told within 50 ms: .*down/);
  assert.equal(cache.synced(), false);
  assert.equal(cache.status().failures, 1);
  down = false;
  await until("it is known", () => cache.synced());
});

test("a kind that is missed once is not given up", async (t) => {
  let asked = 0;
  let missing = 0;
  const { kube, cache, told } = await follow(t, (kube) => ({
    ...kube,
    raw: async (path, options) => {
      asked += 1;
      const text = await kube.raw(path, options);
      if (missing === 0) return text;
      missing -= 1;
      return JSON.stringify({ resources: [] });
    },
  }));
  await kube.create(definitions, definition);
  await kube.create(securityGroupPolicies, policy);
  await until("the policy is known", () => cache.get(ref) !== undefined);
  missing = 1;
  const before = asked;
  await until("it was missed, and found again", () => asked > before + 2);
  assert.ok(!told.includes("-web") && cache.get(ref) !== undefined);
});

// Names of pods on other nodes: who is asked, how often, and what becomes of answers that do not come.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ip } from "../../../test/kernel-stage.ts";
import { Fault } from "../../base/fault.ts";
import { silentLog } from "../../base/log.ts";
import type { Kube } from "../../kube/contract.ts";
import { nodeEndpoints } from "../../kube/objects.ts";
import { askEveryMs, createNames, publishedForMs } from "./names.ts";

const [web, db, stranger] = [ip("10.4.2.7"), ip("10.4.3.7"), ip("192.0.2.9")];
const nodes = new Map([
  [web, "node-2"],
  [db, "node-3"],
]);

function stand() {
  const now = { ms: 0 };
  const asked: string[] = [];
  const failing = { is: false };
  const pods = new Map([
    ["node-2", { name: "web", address: web }],
    ["node-3", { name: "db", address: db }],
  ]);
  const kube: Pick<Kube, "get"> = {
    get: async (kind, { name }) => {
      asked.push(name);
      if (failing.is) throw new Fault("kube-unreachable", "nobody is there");
      const pod = pods.get(name) ?? assert.fail(name);
      const endpoint = { namespace: "shop", name: pod.name, uid: "u", interface: "eth0", addresses: [pod.address] };
      assert.equal(kind.kind, nodeEndpoints.kind);
      return kind.parse({ metadata: { name }, nodeUid: "n", endpoints: [endpoint] });
    },
  };
  const names = createNames({
    kube,
    nodeOf: (address) => nodes.get(address),
    log: silentLog(),
    signal: new AbortController().signal,
    clock: () => now.ms,
  });
  return { names, now, asked, failing, pods };
}

void test("the node of the address is asked once for all who want to know, and again after a while", async () => {
  const { names, now, asked, pods } = stand();
  assert.deepEqual(await Promise.all([names(web), names(web)]), ["shop/web", "shop/web"]);
  assert.deepEqual(asked, ["node-2"]);
  now.ms = askEveryMs;
  assert.equal(await names(db), "shop/db");
  pods.set("node-2", { name: "web-2", address: web });
  now.ms = publishedForMs - 1;
  assert.equal(await names(web), "shop/web");
  now.ms = publishedForMs;
  assert.equal(await names(web), "shop/web-2");
  assert.deepEqual(asked, ["node-2", "node-3", "node-2"]);
});

void test("nobody is asked of an address that is in no node's block, nor of another node right after the last", async () => {
  const { names, now, asked } = stand();
  assert.equal(await names(stranger), undefined);
  assert.deepEqual(asked, []);
  assert.equal(await names(web), "shop/web");
  assert.equal(await names(db), undefined, "it goes without a name");
  now.ms = askEveryMs;
  assert.equal(await names(db), "shop/db");
  now.ms = publishedForMs + 1;
  assert.deepEqual(
    await Promise.all([names(web), names(db)]),
    ["shop/web", "shop/db"],
    "the last answer is better than none",
  );
  assert.deepEqual(asked, ["node-2", "node-3", "node-2"]);
});

void test("an old answer is no name: the address may be another pod's by now", async () => {
  const { names, now } = stand();
  assert.equal(await names(web), "shop/web");
  now.ms = 3_600_000;
  assert.deepEqual(await Promise.all([names(db), names(web)]), ["shop/db", undefined]);
  now.ms += askEveryMs;
  assert.equal(await names(web), "shop/web");
});

void test("where the API server does not answer there is no name, and it is asked again later", async () => {
  const { names, now, asked, failing } = stand();
  failing.is = true;
  assert.equal(await names(web), undefined);
  now.ms = askEveryMs;
  assert.equal(await names(web), undefined);
  assert.equal(asked.length, 1);
  failing.is = false;
  now.ms = publishedForMs;
  assert.equal(await names(web), "shop/web");
});

// Lists as an API server gives them: selected, in pages of one moment, as of a version.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { refused } from "./kube-objects.contract.ts";
import {
  type Obj,
  type Wire,
  items,
  look,
  made,
  metadata,
  names,
  testNamespace,
  textOf,
  version,
} from "./kube-wire.ts";
import { until } from "./until.ts";

export function testLists(name: string, wire: () => Wire): void {
  const at = async (t: TestContext, plural = "configmaps"): Promise<string> =>
    `/api/v1/namespaces/${await testNamespace(wire(), t)}/${plural}`;
  const get = async (path: string): Promise<Obj> => {
    const reply = await wire().call("GET", path);
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
    return reply.body;
  };
  const five = async (path: string): Promise<void> => {
    for (const each of ["e", "c", "a", "d", "b"])
      await made(wire(), path, { metadata: { name: each, labels: { n: each } } });
  };

  test(`${name}: a list has its kind, a version and its items by name`, async (t) => {
    const path = await at(t);
    await five(path);
    const list = await get(`${path}?labelSelector=n`);
    assert.deepEqual([list["kind"], list["apiVersion"]], ["ConfigMapList", "v1"]);
    assert.match(version(list), /^\d+$/);
    assert.deepEqual(names(list), ["a", "b", "c", "d", "e"]);
    const everywhere = await get("/api/v1/configmaps?labelSelector=n");
    assert.deepEqual(names(everywhere).filter((each) => "abcde".includes(each)).length >= 5, true);
  });

  test(`${name}: label selectors`, async (t) => {
    const path = await at(t);
    await made(wire(), path, { metadata: { name: "a", labels: { app: "x", tier: "1" } } });
    await made(wire(), path, { metadata: { name: "b", labels: { app: "y" } } });
    await made(wire(), path, { metadata: { name: "c" } });
    const cases: [selector: string, expected: string[]][] = [
      ["app=x", ["a"]],
      ["app==x", ["a"]],
      ["app!=x", ["b", "c"]],
      ["app in (x, y)", ["a", "b"]],
      ["app notin (x)", ["b", "c"]],
      ["app", ["a", "b"]],
      ["!app", ["c"]],
      ["app,!tier", ["b"]],
      ["app=x,tier=2", []],
      ["tier>0", ["a"]],
      ["app=", []],
    ];
    for (const [selector, expected] of cases) {
      const list = await get(`${path}?labelSelector=${encodeURIComponent(selector)}`);
      const own = names(list).filter((each) => each !== "kube-root-ca.crt");
      assert.deepEqual(own, expected, selector);
    }
    for (const selector of ["app in", "=x", "a b", "app in (x", "app=x,"]) {
      refused(await wire().call("GET", `${path}?labelSelector=${encodeURIComponent(selector)}`), 400, "BadRequest");
    }
  });

  test(`${name}: field selectors`, async (t) => {
    const path = await at(t, "pods");
    const pod = (each: string, nodeName: string): Obj => ({
      metadata: { name: each },
      spec: { nodeName, containers: [{ name: "c", image: "i" }] },
    });
    for (const [each, node] of [
      ["a", "node-1"],
      ["b", "node-2"],
    ] as const)
      await made(wire(), path, pod(each, node));
    const select = async (selector: string): Promise<string[]> =>
      names(await get(`${path}?fieldSelector=${encodeURIComponent(selector)}`));
    assert.deepEqual(await select("spec.nodeName=node-1"), ["a"]);
    assert.deepEqual(await select("spec.nodeName!=node-1"), ["b"]);
    assert.deepEqual(await select("metadata.name=b,status.phase=Pending"), ["b"]);
    assert.deepEqual(await select("spec.hostNetwork=false,spec.nodeName=node-2"), ["b"]);
    refused(await wire().call("GET", `${path}?fieldSelector=spec.priority%3D1`), 400, "BadRequest");
    refused(await wire().call("GET", `${path}?fieldSelector=nonsense`), 400, "BadRequest");
    for (const each of ["a", "b"]) await wire().call("DELETE", `${path}/${each}?gracePeriodSeconds=0`);
  });

  test(`${name}: pages together show one moment`, async (t) => {
    const path = await at(t);
    await five(path);
    const first = await get(`${path}?limit=2&labelSelector=n`);
    assert.deepEqual(names(first), ["a", "b"]);
    const token = textOf(first, "metadata", "continue");
    assert.notEqual(token, "");
    await wire().call("DELETE", `${path}/c`);
    await made(wire(), path, { metadata: { name: "bb", labels: { n: "new" } } });
    await wire().call("PATCH", `${path}/d`, { body: { data: { changed: "later" } } });
    const second = await get(`${path}?limit=2&labelSelector=n&continue=${encodeURIComponent(token)}`);
    assert.deepEqual(names(second), ["c", "d"]);
    assert.equal(items(second)[1]?.["data"], undefined);
    assert.equal(version(second), version(first));
    const last = await get(
      `${path}?limit=2&labelSelector=n&continue=${encodeURIComponent(textOf(second, "metadata", "continue"))}`,
    );
    assert.deepEqual([names(last), metadata(last)["continue"]], [["e"], undefined]);
    refused(await wire().call("GET", `${path}?limit=2&continue=nonsense`), 400, "BadRequest");
    const versioned = `${path}?limit=2&resourceVersion=${version(first)}&continue=${encodeURIComponent(token)}`;
    refused(await wire().call("GET", versioned), 400, "BadRequest");
  });

  test(`${name}: the rest of an unselected list is counted`, async () => {
    // Namespaces of tests before this one may still be on their way out.
    await until("one page and the whole agree", async () => {
      const first = await get("/api/v1/namespaces?limit=1");
      const rest = look(first, "metadata", "remainingItemCount");
      return typeof rest === "number" && rest > 0 && rest === items(await get("/api/v1/namespaces")).length - 1;
    });
  });

  test(`${name}: a list as of a version`, async (t) => {
    const path = await at(t);
    await five(path);
    const before = await get(`${path}?labelSelector=n`);
    await wire().call("DELETE", `${path}/a`);
    const as = (options: string): Promise<Obj> => get(`${path}?labelSelector=n&${options}`);
    const exact = await as(`resourceVersion=${version(before)}&resourceVersionMatch=Exact`);
    assert.deepEqual([names(exact), version(exact)], [["a", "b", "c", "d", "e"], version(before)]);
    const newer = await as(`resourceVersion=${version(before)}&resourceVersionMatch=NotOlderThan`);
    assert.ok(Number(version(newer)) >= Number(version(before)));
    const paged = await as(`resourceVersion=${version(before)}&limit=1`);
    assert.deepEqual([names(paged), version(paged)], [["a"], version(before)], "with a limit, the version is exact");
    const wrong = [
      "resourceVersionMatch=Exact",
      "resourceVersion=0&resourceVersionMatch=Exact",
      "resourceVersion=1&resourceVersionMatch=Sometimes",
      "sendInitialEvents=true",
    ];
    for (const options of wrong) refused(await wire().call("GET", `${path}?${options}`), 422, "Invalid");
  });

  test(`${name}: a version that is not reached yet is waited for in vain`, async () => {
    const far = await wire().call(
      "GET",
      "/api/v1/configmaps?resourceVersion=9000000000&resourceVersionMatch=NotOlderThan",
    );
    assert.match(refused(far, 504, "Timeout"), /Too large resource version: 9000000000/);
    assert.equal(look(far.body, "details", "causes", 0, "reason"), "ResourceVersionTooLarge");
    assert.equal(look(far.body, "details", "retryAfterSeconds"), 1);
  });
}

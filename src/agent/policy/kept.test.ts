// What of policy outlives an agent: it comes back as it was, for root alone, to the node that wrote it and to no other.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { test, type TestContext } from "node:test";
import { testIp } from "../../../test/store.contract.ts";
import { silentLog } from "../../base/log.ts";
import { networkPolicies } from "../../kube/policy-objects.ts";
import { createClasses } from "../../policy/compile-classes.ts";
import { podsMembership } from "../../policy/membership.ts";
import { createPolicyFile, type KeptPolicy, keptPolicyFile, readKeptPolicy } from "./kept.ts";

const node = "node-1 uid-1";
const ports = [{ name: "http", protocol: 6, port: 8080 }];
const kept: KeptPolicy = {
  objects: {
    namespaces: [],
    serviceAccounts: [],
    networkPolicies: [networkPolicies.parse({ metadata: { namespace: "shop", name: "web", uid: "u" }, spec: {} })],
    groups: [],
    bindings: [],
    groupPolicies: [],
  },
  memberships: new Map([
    [
      podsMembership([], []).key,
      [[{ address: testIp("10.4.1.2"), ports }], [{ address: testIp("10.4.2.2"), ports: [] }]],
    ],
  ]),
  pods: new Map([
    [
      "fairlead/c1/eth0",
      {
        namespace: "shop",
        name: "web",
        uid: "u1",
        labels: { app: "web" },
        serviceAccount: "default",
        node: "node-1",
        addresses: [testIp("10.4.1.2")],
        ports,
      },
    ],
  ]),
  nodeBreakGlass: "2026-11-26T11:00:00Z/2026-11-26T13:00:00Z",
  classes: createClasses().kept(),
};

/** What is read is one part: parts say nothing. */
const readBack: KeptPolicy = {
  ...kept,
  memberships: new Map(Array.from(kept.memberships, ([key, parts]) => [key, [parts.flat()]])),
};

function stand(t: TestContext): string {
  const directory = mkdtempSync(`${tmpdir()}/fairlead-kept-`);
  t.after(() => rmSync(directory, { recursive: true }));
  return keptPolicyFile(directory);
}

void test("it comes back as it was written, readable for root alone", async (t) => {
  const file = stand(t);
  assert.equal(await readKeptPolicy(file, node, silentLog()), undefined, "nothing was kept yet");
  await createPolicyFile(file, node)(kept);
  assert.deepEqual(await readKeptPolicy(file, node, silentLog()), readBack);
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

void test("what was half written when its writer was killed goes at the next start", async (t) => {
  const file = stand(t);
  const left = `${dirname(file)}/.policy.json.0123456789ab`;
  await createPolicyFile(file, node)(kept);
  writeFileSync(left, "{");
  assert.deepEqual(await readKeptPolicy(file, node, silentLog()), readBack);
  assert.equal(statSync(left, { throwIfNoEntry: false }), undefined);
});

void test("another node, or this one made anew under its name, does not judge by it", async (t) => {
  const file = stand(t);
  await createPolicyFile(file, node)(kept);
  for (const other of ["node-2 uid-1", "node-1 uid-2"])
    assert.equal(await readKeptPolicy(file, other, silentLog()), undefined, other);
});

void test("what cannot be understood is nothing, and is written over", async (t) => {
  const file = stand(t);
  const write = createPolicyFile(file, node);
  await write(kept);
  const good = readFileSync(file, "utf8");
  for (const bad of ["", "{", good.replace('"version":1', '"version":9'), good.replace("10.4.1.2", "10.4.1.2000")]) {
    writeFileSync(file, bad);
    assert.equal(await readKeptPolicy(file, node, silentLog()), undefined, bad.slice(0, 40));
  }
  await createPolicyFile(file, node)(kept);
  assert.deepEqual(await readKeptPolicy(file, node, silentLog()), readBack);
});

void test("the same again is not written", async (t) => {
  const file = stand(t);
  const write = createPolicyFile(file, node);
  await write(kept);
  rmSync(file);
  await write({ ...kept });
  assert.equal(statSync(file, { throwIfNoEntry: false }), undefined);
  await write({ ...kept, pods: new Map() });
  assert.ok(statSync(file).size > 0);
});

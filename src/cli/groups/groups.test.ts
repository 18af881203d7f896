// `fairlead groups` against a small API server and agents that answer on sockets: what it prints, and what it says it could not ask.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isFault } from "../../base/fault.ts";
import { securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";
import { emptyCluster, installKinds } from "../../../test/cli-cluster.ts";
import type { OpenCluster } from "../cluster/open.ts";
import { showGroups } from "../groups.ts";

/** A cluster with the groups `db`, which pods of `shop` are bound to, and `web`. */
async function withGroups(t: TestContext): Promise<OpenCluster> {
  const { cluster } = await emptyCluster(t);
  const { kube } = cluster;
  await installKinds(kube);
  for (const name of ["web", "db"]) {
    const ingress = [{ protocol: "tcp", ports: [{ port: 80 }], from: [{ securityGroup: "web" }] }];
    await kube.create(
      securityGroups,
      securityGroups.parse({ metadata: { name }, spec: { bindableFrom: {}, ingress } }),
    );
  }
  await kube.create(securityGroupBindings, {
    metadata: { name: "db", namespace: "default" },
    spec: { podSelector: {}, groups: ["db"] },
  });
  return cluster;
}

/** A socket on which an agent gives this answer; gives its path. */
async function agentAt(t: TestContext, answer: unknown): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-groups-"));
  const path = join(directory, "status.sock");
  const server = createServer((_request, response) => response.end(JSON.stringify(answer)));
  await new Promise<void>((done) => server.listen(path, done));
  t.after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  return path;
}

/** Where no agent answers. */
const ownSocket = join(tmpdir(), "fltest-no-such.sock");

const answer = {
  node: "n1",
  layers: [{ kind: "groups", direction: "ingress", objects: ["SecurityGroup db"], otherwise: "deny", packets: 12 }],
  rules: [{ rule: "SecurityGroup db ingress rule 1", min: 0, max: 0 }],
  more: 0,
};

void test("all groups in a line each; what an agent counted is in it, and whose that is", async (t) => {
  const cluster = await withGroups(t);
  const socket = await agentAt(t, answer);
  const text = await showGroups(cluster, { ownSocket, sockets: [socket, socket], output: "table" });
  assert.match(text, /^db +enforce +0 +1 +1 +- +12 +0 +1$/m);
  assert.match(text, /^web +enforce +0 +1 +0 +- +0 +0 +-$/m);
  assert.match(text, /hits and denials are those of n1, since/);
  const json: unknown = JSON.parse(
    await showGroups(cluster, { ownSocket, sockets: [socket], output: "json", name: "db" }),
  );
  assert.ok(typeof json === "object" && json !== null && "groups" in json && Array.isArray(json.groups));
  assert.equal(json.groups.length, 1);
});

void test("one group in full; a name that is none is refused with the cure", async (t) => {
  const cluster = await withGroups(t);
  const text = await showGroups(cluster, {
    ownSocket,
    name: "web",
    sockets: [await agentAt(t, answer)],
    output: "table",
  });
  assert.match(text, /^its members are peers of SecurityGroup db ingress rule 1$/m);
  assert.match(text, /^ingress 1 +tcp 80 +members of SecurityGroup web +-$/m);
  await assert.rejects(
    showGroups(cluster, { ownSocket, name: "wbe", sockets: [], output: "table" }),
    (error) => isFault(error, "not-found") && /no SecurityGroup wbe; fairlead groups lists/.test(error.message),
  );
});

void test("agents that do not answer, or not as expected, are said, and nothing is made up for them", async (t) => {
  const cluster = await withGroups(t);
  const sockets = [join(tmpdir(), "no-such-socket"), await agentAt(t, null), await agentAt(t, { node: 1 })];
  const text = await showGroups(cluster, { ownSocket, sockets, output: "table" });
  assert.match(text, /^db +enforce +0 +1 +1 +- +- +- +-$/m);
  assert.match(text, /no agent answers at .*no-such-socket/);
  assert.match(text, /keeps no policy/);
  assert.match(text, /unknown shape/);
});

// A control plane alone: what contract tests may rely on is there, nodes are held to their own objects, and nothing of it is left.

import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { present } from "../../src/base/assert.ts";
import { readJson } from "../../lab/json.ts";
import { leftovers } from "../../lab/down.ts";
import { labEnvironment, readRecord } from "../../lab/record.ts";
import { type ControlPlaneAlone, startControlPlaneAlone } from "./control-plane.ts";
import { needsUpstream } from "./upstream.ts";

const name = `kc${process.pid}`;
const needs = needsUpstream("kubernetes");

const node = (nodeName: string): object => ({ apiVersion: "v1", kind: "Node", metadata: { name: nodeName } });

/** Where a token says to which node it is bound (KEP-4193). */
const whoamiSchema = z.object({
  status: z.object({ userInfo: z.object({ extra: z.record(z.string(), z.array(z.string())).default({}) }) }),
});

void test("an API server without nodes", { ...needs }, async (t) => {
  let plane: ControlPlaneAlone | undefined;
  const startedMs = performance.now();
  plane = await startControlPlaneAlone({ name, controllers: true });
  t.after(() => plane?.close());
  const { kubectl, tryKubectl, authority, server } = plane;
  t.diagnostic(`ready after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  const list = { apiVersion: "v1", kind: "List", items: [node("node-1"), node("node-2")] };
  await kubectl(["apply", "-f", "-"], { input: JSON.stringify(list) });

  await t.test("a node may write to itself and to no other", async () => {
    const identity = { user: "system:node:node-1", group: "system:nodes" };
    const own = `--kubeconfig=${await authority.kubeconfig("node-1", identity, server)}`;
    assert.equal(await tryKubectl([own, "annotate", "node", "node-1", "a=b"]), undefined);
    assert.match(
      (await tryKubectl([own, "annotate", "node", "node-2", "a=b"])) ?? "",
      /cannot read 'node-2', only its own Node object/,
    );
  });

  await t.test("a token of a service account says to which node it is bound", async () => {
    await kubectl(["wait", "--for=create", "serviceaccount/default", "--timeout=30s"]);
    const uid = await kubectl(["get", "node", "node-1", "--output=jsonpath={.metadata.uid}"]);
    const bound = ["--bound-object-kind=Node", "--bound-object-name=node-1", `--bound-object-uid=${uid}`];
    const token = await kubectl(["create", "token", "default", ...bound]);
    // A kubeconfig with a certificate would speak louder than the token.
    const bare = ["--kubeconfig=/dev/null", `--server=${server}`, `--certificate-authority=${authority.certificate}`];
    const text = await kubectl([...bare, `--token=${token.trim()}`, "auth", "whoami", "--output=json"]);
    const { extra } = readJson(whoamiSchema, text, "kubectl auth whoami").status.userInfo;
    assert.deepEqual(extra["authentication.kubernetes.io/node-name"], ["node-1"]);
  });

  await t.test("nothing is left of it", async () => {
    const env = labEnvironment(present(readRecord(name), "record").token);
    await plane?.close();
    plane = undefined;
    assert.deepEqual(leftovers(name, env), []);
  });
});

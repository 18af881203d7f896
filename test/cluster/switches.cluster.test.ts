// Who may take policy away, asked of the real API server: the admission policies of deploy/parts/switches.yaml.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { until } from "../../lab/waiting.ts";
import { breakGlassAnnotation, breakGlassMaxMs } from "../../src/policy/break-glass.ts";
import { sourceGuardAnnotation } from "../../src/policy/source-guard.ts";
import { type ControlPlaneAlone, startControlPlaneAlone } from "./control-plane.ts";
import { buildUpstream } from "./upstream.ts";

const title = "admission of what takes policy away, by the real API server";
const reason = buildUpstream("kubernetes");
const policies = readFileSync(new URL("../../deploy/parts/switches.yaml", import.meta.url), "utf8");
/** Two people who may edit every Namespace and Node; one of them has the two verbs, for namespace shop and node n1 alone. */
const roles = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: editors }
rules: [{ apiGroups: [""], resources: [namespaces, nodes], verbs: [get, create, patch, update] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: breakers }
rules:
  - { apiGroups: [""], resources: [namespaces], resourceNames: [shop], verbs: [break-glass, unguard] }
  - { apiGroups: [""], resources: [nodes], resourceNames: [n1], verbs: [break-glass] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: editors }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: editors }
subjects: [{ kind: User, name: editor }, { kind: User, name: breaker }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: breakers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: breakers }
subjects: [{ kind: User, name: breaker }]
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Namespace
metadata: { name: bank }
---
apiVersion: v1
kind: Node
metadata: { name: n1 }
`;

const forMs = (ms: number): string => {
  const nowMs = Date.now();
  return `${new Date(nowMs).toISOString()}/${new Date(nowMs + ms).toISOString()}`;
};

if (reason === undefined) void describe(title, suite);
else void test(title, { skip: reason }, () => {});

function suite(): void {
  let plane: ControlPlaneAlone | undefined;
  /** What the server says against it; undefined where it does it. */
  const annotate = (user: string, object: string, ...values: string[]): Promise<string | undefined> =>
    present(plane, "a control plane").tryKubectl([
      `--as=${user}`,
      "annotate",
      "--overwrite",
      ...object.split(" "),
      ...values,
    ]);
  const glass = (text: string): string => `${breakGlassAnnotation}=${text}`;
  before(async () => {
    plane = await startControlPlaneAlone({ name: `switches${process.pid}` });
    await plane.kubectl(["apply", "-f", "-"], { input: `${policies}---${roles}` });
    // The server takes a moment until it asks a new policy.
    const refused = async (): Promise<string | undefined> => {
      const [first, second] = [
        await annotate("editor", "namespace bank", glass("no")),
        await annotate("editor", "namespace bank", `${sourceGuardAnnotation}=no`),
      ];
      await annotate("editor", "namespace bank", `${breakGlassAnnotation}-`, `${sourceGuardAnnotation}-`);
      const asked = first?.includes("break-glass") === true && second?.includes("source-guard") === true;
      return asked ? undefined : `a new policy is not asked yet: ${first}; ${second}`;
    };
    await until(refused, { what: "policies that are asked", withinMs: 30_000, everyMs: 500 });
  });
  after(() => plane?.close());

  void test("break-glass needs its own verb on that very object; without the annotation everything is as ever", async () => {
    const word = glass(forMs(3_600_000));
    assert.match(
      (await annotate("editor", "namespace shop", word)) ?? "",
      /needs the right to break-glass namespaces shop/,
    );
    assert.match((await annotate("editor", "node n1", word)) ?? "", /needs the right to break-glass nodes n1/);
    assert.match(
      (await annotate("breaker", "namespace bank", word)) ?? "",
      /needs the right to break-glass namespaces bank/,
    );
    assert.equal(await annotate("breaker", "namespace shop", word), undefined);
    assert.equal(await annotate("breaker", "node n1", word), undefined);
    assert.equal(
      await annotate("editor", "namespace shop", "other=1"),
      undefined,
      "what is there already is no question",
    );
    assert.equal(
      await annotate("editor", "namespace shop", `${breakGlassAnnotation}-`),
      undefined,
      "everybody may end it",
    );
  });

  void test("what no node would follow is refused, and the longest is not", async () => {
    const cases: [string, RegExp][] = [
      [forMs(breakGlassMaxMs + 1000), /ends after it begins, at most 24 hours later/],
      [forMs(-1000), /ends after it begins/],
      ["true", /is a begin and an end/],
      [new Date().toISOString(), /is a begin and an end/],
    ];
    for (const [text, message] of cases)
      assert.match((await annotate("breaker", "namespace shop", glass(text))) ?? "", message, text);
    assert.equal(await annotate("breaker", "namespace shop", glass(forMs(breakGlassMaxMs))), undefined);
    assert.equal(
      await annotate("breaker", "namespace shop", glass("2026-11-26T13:00:00+01:00/2026-11-26T13:00:00Z")),
      undefined,
    );
  });

  void test("a namespace lets its pods leave the source guard by a verb of its own, and one word", async () => {
    const word = `${sourceGuardAnnotation}=per-pod`;
    assert.match((await annotate("editor", "namespace shop", word)) ?? "", /right to unguard namespaces shop/);
    assert.match(
      (await annotate("breaker", "namespace shop", `${sourceGuardAnnotation}=off`)) ?? "",
      /is per-pod, or not there/,
    );
    assert.equal(await annotate("breaker", "namespace shop", word), undefined);
  });
}

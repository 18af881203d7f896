// Policy read anew only where something that decides has changed.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cache, KubeObject } from "./contract.ts";
import { type Namespace, namespaces, type NetworkPolicy, networkPolicies } from "./policy-objects.ts";
import { createPolicyView } from "./policy-view.ts";

const holding = <T extends KubeObject>(items: () => readonly T[]): Cache<T> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one question that a view asks
  ({ all: items }) as Partial<Cache<T>> as Cache<T>;

const policy = (metadata: object): NetworkPolicy =>
  networkPolicies.parse({ metadata: { namespace: "shop", name: "web", uid: "u1", ...metadata }, spec: {} });
const namespace = (metadata: object): Namespace =>
  namespaces.parse({ metadata: { name: "shop", uid: "u2", ...metadata } });

void test("labels, specs and what is on probation are read anew; statuses and other annotations are not", () => {
  let policies: NetworkPolicy[] = [];
  let spaces: Namespace[] = [];
  const view = createPolicyView({
    namespaces: holding(() => spaces),
    serviceAccounts: holding(() => []),
    networkPolicies: holding(() => policies),
    groups: holding(() => []),
    bindings: holding(() => []),
    groupPolicies: holding(() => []),
  });
  const changed = (): boolean => {
    const before = last;
    last = view();
    return before !== last;
  };
  let last = view();
  assert.equal(changed(), false);
  policies = [policy({ generation: 1 })];
  assert.equal(changed(), true, "a policy came");
  policies = [policy({ generation: 1, resourceVersion: "7", annotations: { note: "x" } })];
  assert.equal(changed(), false, "an annotation that decides nothing");
  policies = [policy({ generation: 1, annotations: { "fairlead.dev/mode": "audit" } })];
  assert.equal(changed(), true, "probation");
  policies = [policy({ generation: 2, annotations: { "fairlead.dev/mode": "audit" } })];
  assert.equal(changed(), true, "its spec");
  policies = [policy({ generation: 2, uid: "u9", annotations: { "fairlead.dev/mode": "audit" } })];
  assert.equal(changed(), true, "another one under its name");
  spaces = [namespace({ labels: { a: "1" } })];
  assert.equal(changed(), true);
  spaces = [namespace({ labels: { a: "1" }, annotations: { note: "y" }, resourceVersion: "9" })];
  assert.equal(changed(), false);
  spaces = [namespace({ labels: { a: "2" } })];
  assert.equal(changed(), true, "a namespace's label");
  policies = [];
  assert.equal(changed(), true, "a policy went");
});

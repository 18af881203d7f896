// What a new leader waits for: one new list of everything that decides, and not for ever.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type DecidingCaches, listAnew } from "./list-anew.ts";

const { signal } = new AbortController();

/** Caches that have been listed once; each lists anew when it is told to, but those that do not answer. */
function stand(silent: readonly string[] = [], unknown: readonly string[] = []) {
  const renewed: string[] = [];
  const make = (kind: string) => {
    let lists = unknown.includes(kind) ? 0 : 1;
    return {
      renew: () => {
        renewed.push(kind);
        if (!silent.includes(kind)) queueMicrotask(() => (lists += 1)); // later, as any answer
      },
      status: () => ({ kind, objects: 0, lists, watches: 0, events: 0, failures: 0 }),
    };
  };
  const caches: DecidingCaches = {
    nodes: make("nodes"),
    networks: make("networks"),
    endpoints: make("endpoints"),
    pods: make("pods"),
    namespaces: make("namespaces"),
    serviceAccounts: make("serviceAccounts"),
    networkPolicies: make("networkPolicies"),
    groups: make("groups"),
    bindings: make("bindings"),
    groupPolicies: make("groupPolicies"),
  };
  return { caches, renewed };
}

test("everything is listed anew, once; a kind that the cluster does not know is not waited for", async () => {
  const { caches, renewed } = stand([], ["groupPolicies"]);
  assert.deepEqual(await listAnew(caches, 10_000, signal), []);
  assert.deepEqual(
    renewed,
    Object.keys(caches).filter((name) => name !== "groupPolicies"),
  );
});

test("what is not listed in time is named, and not waited for any longer", async () => {
  const { caches } = stand(["pods", "bindings"]);
  assert.deepEqual(await listAnew(caches, 50, signal), ["pods", "bindings"]);
  assert.deepEqual(await listAnew(caches, 10_000, AbortSignal.abort()), Object.keys(caches), "nor after the term");
});

// The rights in deploy/: every call that a program's sources make of the Kubernetes API is granted to it, and nothing else is.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import type { Kind, KubeObject } from "../src/kube/contract.ts";
import * as core from "../src/kube/core-objects.ts";
import * as own from "../src/kube/objects.ts";
import * as policy from "../src/kube/policy-objects.ts";
import { installText } from "./deploy.ts";

/** What each call of the client asks of the server. */
const verbsOf: Readonly<Record<string, readonly string[]>> = {
  get: ["get"],
  list: ["list"],
  follow: ["list", "watch"],
  create: ["create"],
  replace: ["update"],
  patch: ["patch"],
  apply: ["patch", "create"],
  remove: ["delete"],
};

const kinds = new Map<string, string>();
for (const [name, value] of Object.entries<unknown>({ ...core, ...own, ...policy })) {
  const { group, plural } = (typeof value === "object" && value !== null ? value : {}) as Partial<Kind<KubeObject>>;
  if (group !== undefined && plural !== undefined) kinds.set(name, `${group}/${plural}`);
}

/** Kinds that are followed by one call each. */
const followedPolicy = ["namespaces", "serviceAccounts", "networkPolicies", "securityGroups", "securityGroupBindings"];

/**
 * Calls of a client whose kind is the caller's, with who passes which kinds: what reading the calls cannot find. A file that is
 * named here and has no such call is found as stale.
 */
const passedKinds: Readonly<Record<string, readonly string[]>> = {
  "src/agent/policy/sources.ts": [...followedPolicy, "securityGroupPolicies", "membershipSlices"],
  "src/agent/policy/heard.ts": [...followedPolicy, "securityGroupPolicies"],
  "src/controller/memberships/inherited.ts": [
    ...followedPolicy.filter((name) => name !== "networkPolicies"),
    "nodeEndpoints",
    "nodeNetworks",
    "nodes",
    "pods",
  ],
  "src/controller/memberships/write-status.ts": ["securityGroups", "securityGroupBindings"],
  "src/controller/caches.ts": [...followedPolicy, "membershipSlices"],
  "src/agent/cluster/keep.ts": ["nodeNetworks", "nodeEndpoints"],
  "src/controller/sweep.ts": ["nodeNetworks", "nodeEndpoints"],
};

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => join(folder, name));
}

/** Each "group/resource verb" that the files use, and the files of `passedKinds` that did. */
function used(files: readonly string[]): { rights: Set<string>; passed: Set<string> } {
  const rights = new Set<string>();
  const passed = new Set<string>();
  for (const file of files) {
    const text = readFileSync(file, "utf8").replaceAll(/\blistReadable(?:IfKnown)?\(kube, /g, "kube.list(");
    for (const call of text.matchAll(/\bkube\s*\.(\w+)\(\s*([\w.]+)\s*[,)](?=([^;]*))/g)) {
      const [, method = "", kindName = "", rest = ""] = call;
      const verbs = verbsOf[method];
      if (verbs === undefined) continue;
      const known = kinds.get(kindName);
      if (known === undefined) passed.add(file);
      const resources = known === undefined ? (passedKinds[file] ?? []).map((name) => kinds.get(name)) : [known];
      assert.ok(
        resources.length > 0,
        `${file}: ${call[0].slice(0, 80)}: add to passedKinds which kinds it is called with`,
      );
      const statement = rest.slice(0, rest.indexOf(")") + 1);
      const sub = /subresource: "status"/.test(statement) ? "/status" : "";
      for (const resource of resources) for (const verb of verbs) rights.add(`${resource}${sub} ${verb}`);
    }
  }
  return { rights, passed };
}

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/** What the roles of that name grant, in the same words. */
function granted(name: string): Set<string> {
  const roles = parseAllDocuments(installText())
    .map((document) => document.toJS() as { kind: string; metadata: { name: string }; rules?: Rule[] })
    .filter(({ kind, metadata }) => kind.endsWith("Role") && metadata.name === name);
  assert.ok(roles.length > 0);
  return new Set(
    roles.flatMap(({ rules = [] }) =>
      rules.flatMap(({ apiGroups, resources, verbs }) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((resource) => verbs.map((verb) => `${group}/${resource} ${verb}`)),
        ),
      ),
    ),
  );
}

const programs = {
  "fairlead-agent": [...sources("src/agent"), "src/kube/events.ts"],
  "fairlead-controller": [...sources("src/controller"), "src/kube/lease.ts"],
};

for (const [name, files] of Object.entries(programs)) {
  test(`${name} may do what its sources do, and nothing else`, () => {
    assert.deepEqual([...granted(name)].toSorted(), [...used(files).rights].toSorted());
  });
}

test("the list of calls whose kind is passed on is right", () => {
  const { passed } = used(Object.values(programs).flat());
  assert.deepEqual([...passed].toSorted(), Object.keys(passedKinds).toSorted());
});

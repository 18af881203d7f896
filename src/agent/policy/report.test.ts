// What operators are told of policy: classes with their objects, layers without room, objects that do not count, and whose word judges.

import assert from "node:assert/strict";
import { test } from "node:test";
import { testWired } from "../../../test/store.contract.ts";
import type { Layer } from "../../policy/model.ts";
import { bypassFindings } from "./bypass.ts";
import { policyFindings, policyReport, type ReportParts } from "./report.ts";
import type { Judged } from "./subjects.ts";

const layer = (id: string, objects: string[]): Layer => ({
  kind: "groups",
  direction: "ingress",
  id,
  objects,
  otherwise: "deny",
  rules: [],
});
const db = layer("ingress of SecurityGroup db", ["SecurityGroup db"]);

const judged = (key: string, ingress: readonly Layer[]): Judged => {
  const attachment = testWired({ containerId: key });
  const pod = { namespace: "shop", name: key, uid: key, labels: {}, serviceAccount: "default", node: "a" };
  return {
    key,
    attachment,
    pod: { ...pod, addresses: [], ports: [] },
    problems: [],
    isKnown: true,
    isUnguarded: false,
    egress: [],
    ingress,
  };
};

const parts = (more: Partial<ReportParts> = {}): ReportParts => ({
  by: "cluster",
  nameless: 0,
  judged: [judged("db-0", [db]), judged("db-1", [db]), judged("web", [])],
  groups: new Map([
    ["db-0", 101],
    ["db-1", 101],
    ["web", 100],
  ]),
  objects: { problems: [], alwaysEgress: [] },
  memberships: new Map(),
  glass: { problems: () => [] },
  factsOf: () => ({ name: "i_1", leftOut: 0 }),
  ...more,
});

/** No link is a pod's. */
const none: ReadonlySet<number> = new Set();

void test("each class with its pods and objects; where all is well, one line says how many are judged", () => {
  const report = policyReport(parts());
  assert.deepEqual(
    report.classes.map(({ number, pods, layers }) => [number, pods, layers.map(({ objects }) => objects.join())]),
    [
      [100, 1, []],
      [101, 2, ["SecurityGroup db"]],
    ],
  );
  assert.deepEqual(policyFindings(report), [{ name: "policy", state: "ok", says: "judges 2 of 3 pods" }]);
});

void test("a layer without room is bad, once; an object that does not count wants attention", () => {
  const problem = { object: "NetworkPolicy shop/web", path: "spec.ingress[0]", message: "nobody can read it" };
  const findings = policyFindings(
    policyReport(
      parts({ factsOf: () => ({ name: "i_1", leftOut: 7 }), objects: { problems: [problem], alwaysEgress: [] } }),
    ),
  );
  assert.deepEqual(
    findings.map(({ state, says }) => [state, says]),
    [
      [
        "bad",
        "ingress of SecurityGroup db: the kernel has no room for 7 of its ports, ranges and messages, which allow nothing",
      ],
      ["warn", "NetworkPolicy shop/web: spec.ingress[0]: nobody can read it"],
    ],
  );
});

void test("whose word judges is told where it is not the cluster's", () => {
  const states = (["kept", "nobody"] as const).map((by) => policyFindings(policyReport(parts({ by })))[0]?.state);
  assert.deepEqual(states, ["warn", "bad"]);
});

void test("kube-proxy in IPVS mode goes round policy, and is told", () => {
  assert.deepEqual(bypassFindings([{ name: "eth0", index: 2 }], none), []);
  const [finding] = bypassFindings(
    [
      { name: "eth0", index: 2 },
      { name: "kube-ipvs0", index: 3 },
    ],
    none,
  );
  assert.equal(finding?.state, "bad");
  assert.match(finding?.cure ?? "", /mode nftables or iptables/);
});

void test("a program before everything else is told of pods' links, not of the node's own", () => {
  const links = [
    { name: "eth0", index: 2, hasXdp: true },
    { name: "fl1", index: 10, hasXdp: true },
    { name: "fl2", index: 11 },
  ] as const;
  assert.deepEqual(bypassFindings(links, none), []);
  const [finding, ...more] = bypassFindings(links, new Set([10, 11]));
  assert.deepEqual([finding?.state, more], ["bad", []]);
  assert.match(finding?.says ?? "", /\(XDP\).*: fl1$/);
});

void test("lists are bounded, and what is left out of them is counted", () => {
  const problems = Array.from({ length: 70 }, (_, n) => ({ object: `o${n}`, path: "spec", message: "bad" }));
  const report = policyReport(parts({ objects: { problems, alwaysEgress: [] } }));
  assert.equal(report.problems.length, 64);
  assert.equal(report.more, 6);
  assert.match(policyFindings(report).at(-1)?.says ?? "", /^6 more/);
});

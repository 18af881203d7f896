// What is told of security groups: members, rules, hits, unused rules, who binds and names them, and what they denied.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type SecurityGroup, securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";
import { parseIp } from "../../net/ip.ts";
import type { PolicyPod } from "../../policy/model.ts";
import type { Counted } from "./agents.ts";
import { type GroupFacts, groupFacts } from "./facts.ts";
import { groupsText, groupText } from "./report.ts";

const group = (name: string, spec: object, status?: object): SecurityGroup =>
  securityGroups.parse({
    metadata: { name },
    spec: { bindableFrom: {}, ...spec },
    ...(status === undefined ? {} : { status }),
  });
const bind = (name: string, app: string, groups: string[]) =>
  securityGroupBindings.parse({
    metadata: { name, namespace: "shop" },
    spec: { podSelector: { matchLabels: { app } }, groups },
  });
const pod = (name: string, app: string, address?: string): PolicyPod => ({
  namespace: "shop",
  name,
  uid: name,
  labels: { app },
  serviceAccount: "default",
  node: "n1",
  addresses: address === undefined ? [] : [parseIp(address) ?? assert.fail(address)],
  ports: [],
});

const db = group(
  "db",
  {
    ingress: [
      { protocol: "tcp", ports: [{ port: 5432 }], from: [{ securityGroup: "web" }] },
      { protocol: "tcp", ports: [{ port: 22 }], from: [{ cidr: "192.0.2.0/24" }] },
      { protocol: "icmp", from: [{ cidr: "0.0.0.0/0" }] },
    ],
  },
  {
    members: 2,
    nodesTotal: 2,
    nodesEnforcing: 1,
    conditions: [
      { type: "Enforced", status: "False", reason: "Pending", message: "not yet on n2", lastTransitionTime: "" },
    ],
  },
);
const web = group("web", { mode: "audit", ingress: [], egress: [] });

const counted = (node: string, hits: [number, number][]): Counted => ({
  node,
  layers: [
    { kind: "groups", direction: "ingress", objects: ["SecurityGroup db"], otherwise: "deny", packets: 4 },
    {
      kind: "groups",
      direction: "ingress",
      objects: ["SecurityGroup db", "SecurityGroup web"],
      otherwise: "deny",
      packets: 2,
    },
    { kind: "groups", direction: "egress", objects: ["SecurityGroup web"], otherwise: "audit", packets: 7 },
    { kind: "networkPolicy", direction: "ingress", objects: ["NetworkPolicy shop/db"], otherwise: "deny", packets: 9 },
    { kind: "groups", direction: "ingress", objects: ["SecurityGroup db-2"], otherwise: "deny", packets: 99 },
  ],
  rules: hits.map(([min, max], index) => ({ rule: `SecurityGroup db ingress rule ${index + 1}`, min, max })),
  more: 0,
});

function factsOf(agents: readonly Counted[]): { db: GroupFacts; web: GroupFacts; all: GroupFacts[] } {
  const all = groupFacts({
    policy: {
      namespaces: [],
      serviceAccounts: [],
      networkPolicies: [],
      groups: [web, db],
      bindings: [bind("db", "db", ["db"]), bind("all", "web", ["web", "missing"])],
      groupPolicies: [],
    },
    pods: [
      pod("db-1", "db", "10.4.1.3"),
      pod("db-0", "db", "10.4.1.2"),
      pod("early", "db"),
      pod("web", "web", "10.4.1.4"),
    ],
    counted: agents,
  });
  const named = (name: string): GroupFacts => all.find((one) => one.name === name) ?? assert.fail(name);
  return { db: named("db"), web: named("web"), all };
}

void test("members are the pods that have an address; binders and rules that name it are told", () => {
  const facts = factsOf([]);
  assert.deepEqual(
    facts.db.members.map((member) => member.pod),
    ["shop/db-0", "shop/db-1"],
  );
  assert.deepEqual([facts.db.boundBy, facts.db.namedBy], [["SecurityGroupBinding shop/db"], []]);
  assert.deepEqual(facts.web.namedBy, ["SecurityGroup db ingress rule 1"]);
  assert.deepEqual([facts.db.egress, facts.web.egress, facts.web.mode], ["everything", "rules", "audit"]);
  assert.deepEqual(
    [facts.db.denied, facts.db.rules.map(({ hits }) => hits)],
    [undefined, [undefined, undefined, undefined]],
  );
});

void test("hits and denials are summed over the agents that were asked", () => {
  const facts = factsOf([
    counted("n1", [
      [3, 3],
      [0, 0],
      [1, 5],
    ]),
    counted("n2", [
      [2, 2],
      [0, 0],
      [0, 0],
    ]),
  ]);
  assert.deepEqual(
    facts.db.rules.map(({ hits }) => hits),
    [
      { min: 5, max: 5 },
      { min: 0, max: 0 },
      { min: 1, max: 5 },
    ],
  );
  assert.deepEqual([facts.db.denied, facts.db.audited, facts.web.denied, facts.web.audited], [12, 0, 4, 14]);
});

void test("the tables say it in words", () => {
  const { db: facts, all } = factsOf([
    counted("n1", [
      [3, 3],
      [0, 0],
      [1, 5],
    ]),
  ]);
  assert.equal(
    groupsText(all),
    [
      "GROUP   MODE      MEMBERS   RULES   BOUND BY   ENFORCED ON   DENIED   AUDITED   UNUSED RULES",
      "db      enforce   2         3       1          1 of 2        6        0         1",
      "web     audit     1         0       1          -             2        7         -",
    ].join("\n"),
  );
  assert.equal(
    groupText(facts),
    [
      "SecurityGroup db: enforce, enforced on 1 of 2, denied 6, audited 0",
      "Enforced False (Pending): not yet on n2",
      "bound by SecurityGroupBinding shop/db",
      "",
      "MEMBER      NODE   ADDRESSES",
      "shop/db-0   n1     10.4.1.2",
      "shop/db-1   n1     10.4.1.3",
      "",
      "RULE        PORTS      PEERS                          HITS",
      "ingress 1   tcp 5432   members of SecurityGroup web   3",
      "ingress 2   tcp 22     192.0.2.0/24                   0",
      "ingress 3   icmp       0.0.0.0/0                      1 to 5",
      "",
      "members may send everything: egress is left away",
      "",
      "unused where it was asked: ingress 2",
    ].join("\n"),
  );
  assert.doesNotMatch(groupText(factsOf([]).db), /unused/, "nobody was asked");
});

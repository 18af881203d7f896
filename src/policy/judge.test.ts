// The judge: which judgement denied, why, what nearly allowed it, and which flows end when rules are narrowed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { objectsOf, policyWorld, shopPolicy } from "../../test/policy-world.ts";
import { localModel } from "./build-model.ts";
import type { ExplainedJudgement } from "./explain.ts";
import { createJudge, narrowed } from "./judge.ts";
import { readObjects } from "./read-objects.ts";

const pods = {
  "shop/web": { labels: { app: "web" } },
  "shop/db": { labels: { app: "db" }, node: "n2" },
};

const dbGroup = (rules: string): string => `---
kind: SecurityGroup
metadata: { name: db }
spec: { bindableFrom: {}, ingress: [${rules}] }
---
kind: SecurityGroupBinding
metadata: { name: b, namespace: shop }
spec: { podSelector: { matchLabels: { app: db } }, groups: [db] }
`;
const fromWeb = "{ namespaceSelector: {}, podSelector: { matchLabels: { app: web } } }";

/** The four outcomes, in order. */
const outcomes = (judgements: readonly ExplainedJudgement[]): string[] =>
  judgements.map(({ direction, kind, outcome }) => `${direction} ${kind} ${outcome}`);

test("the four judgements in their order, with layer, object and rule", () => {
  const objects =
    shopPolicy("policyTypes: [Egress]\negress: [{ to: [{ podSelector: {} }] }]", "out") +
    dbGroup(`{ protocol: tcp, ports: [{ port: 5432 }], from: [${fromWeb}] }`);
  const { judge, packet } = policyWorld({ pods, objects });
  const { always, judgements } = judge.explain(packet("shop/web > shop/db tcp 5432"));
  assert.equal(always, undefined);
  assert.deepEqual(outcomes(judgements), [
    "egress networkPolicy allowed",
    "egress groups not judged",
    "ingress networkPolicy not judged",
    "ingress groups allowed",
  ]);
  assert.deepEqual(
    judgements.map(({ says }) => says),
    [
      "NetworkPolicy shop/out egress rule 1 allows everything to pods * of namespaces kubernetes.io/metadata.name=shop",
      "no security group limits what pod shop/web sends",
      "no NetworkPolicy isolates pod shop/db for ingress",
      "SecurityGroup db ingress rule 1 allows tcp 5432 from pods app=web of namespaces *",
    ],
  );
  const [, , , last] = judgements;
  assert.deepEqual(
    { pod: last?.pod, layer: last?.layer, objects: last?.objects, rule: last?.rule },
    {
      pod: "shop/db",
      layer: "ingress of SecurityGroup db",
      objects: ["SecurityGroup db"],
      rule: "SecurityGroup db ingress rule 1",
    },
  );
});

test("a denial names rules that know the peer but not the port, and those that know the port but not the peer", () => {
  const objects = dbGroup(
    `{ protocol: tcp, ports: [{ port: 5432 }], from: [${fromWeb}] }, { protocol: tcp, ports: [{ port: 80 }], from: [{ cidr: 8.0.0.0/8 }] }`,
  );
  const { judge, packet } = policyWorld({ pods, objects });
  const line = packet("shop/web > shop/db tcp 80");
  assert.deepEqual(judge.verdict(line), {
    passes: false,
    deniedBy: { direction: "ingress", kind: "groups", layer: "ingress of SecurityGroup db" },
    audited: [],
  });
  const denied = judge.explain(line).judgements[3];
  assert.equal(denied?.outcome, "denied");
  assert.equal(denied?.says, "no rule allows tcp 80 from pod shop/web (10.0.0.1)");
  assert.deepEqual(denied?.near, [
    {
      rule: "SecurityGroup db ingress rule 1",
      missed: "port",
      says: "SecurityGroup db ingress rule 1 knows pod shop/web (10.0.0.1), and allows it tcp 5432, not tcp 80",
    },
    {
      rule: "SecurityGroup db ingress rule 2",
      missed: "peer",
      says: "SecurityGroup db ingress rule 2 allows tcp 80 from 8.0.0.0/8, and pod shop/web (10.0.0.1) is none of them",
    },
  ]);
  assert.deepEqual(denied?.cures, [
    "add tcp 80 to SecurityGroup db ingress rule 1",
    "make pod shop/web (10.0.0.1) a peer of SecurityGroup db ingress rule 2",
    "add a rule to SecurityGroup db that allows tcp 80 from pod shop/web (10.0.0.1)",
  ]);
});

test("an address that an except cuts out is told so", () => {
  const objects = dbGroup("{ from: [{ cidr: 8.0.0.0/8, except: [8.8.0.0/16] }] }");
  const { judge, packet } = policyWorld({ pods, objects });
  const denied = judge.explain(packet("8.8.8.8 > shop/db icmp 8")).judgements[3];
  assert.match(denied?.near[0]?.says ?? "", /8\.8\.8\.8 is cut out of 8\.0\.0\.0\/8 by its except 8\.8\.0\.0\/16/);
  assert.equal(denied?.cures[0], "take that except out of SecurityGroup db ingress rule 1");
});

test("no more than a few near misses are named of many", () => {
  const rules = Array.from(
    { length: 100 },
    (_, at) => `{ protocol: tcp, ports: [{ port: ${at + 1} }], from: [${fromWeb}] }`,
  );
  const { judge, packet } = policyWorld({ pods, objects: dbGroup(rules.join(", ")) });
  assert.equal(judge.explain(packet("shop/web > shop/db tcp 5432")).judgements[3]?.near.length, 5);
});

test("the first denial in the order of judgements is the one that is named; all are explained", () => {
  const objects = shopPolicy("policyTypes: [Egress, Ingress]", "none") + dbGroup("{ from: [{ cidr: 8.0.0.0/8 }] }");
  const { judge, packet } = policyWorld({ pods, objects });
  const line = packet("shop/web > shop/db tcp 80");
  assert.equal(judge.verdict(line).deniedBy?.layer, "egress of NetworkPolicy shop/none");
  assert.deepEqual(outcomes(judge.explain(line).judgements), [
    "egress networkPolicy denied",
    "egress groups not judged",
    "ingress networkPolicy denied",
    "ingress groups denied",
  ]);
});

test("what passes whatever is said, says why", () => {
  const { judge, packet } = policyWorld({ pods, objects: shopPolicy("policyTypes: [Egress, Ingress]") });
  const why = (line: string): string | undefined => judge.explain(packet(line)).always;
  assert.equal(why("shop/db > shop/db tcp 80"), "a pod always reaches itself");
  assert.equal(why("192.168.0.2 > shop/db tcp 80"), "a node's own traffic always reaches its pods");
  assert.equal(why("fd00::9 > shop/db@6 icmpv6 135"), "neighbour discovery is never denied");
  assert.equal(why("1.1.1.1 > 8.8.8.8 tcp 80"), "neither end is a pod that is judged here");
  const [first] = judge.explain(packet("shop/db > 192.168.0.2 tcp 80")).judgements;
  assert.equal(first?.says, "its own node, which is not judged");
});

test("what a pod outside the source guard sends itself is judged, since it could be anybody's", () => {
  const objects = shopPolicy("policyTypes: [Egress, Ingress]");
  const { model, packet } = policyWorld({ pods, objects });
  const subjects = model.subjects.map((one) => ({ ...one, isUnguarded: one.pod.name === "db" }));
  const judge = createJudge({ ...model, subjects });
  const line = packet("shop/db > shop/db tcp 80");
  assert.equal(judge.verdict(line).deniedBy?.layer, "egress of NetworkPolicy shop/p");
  assert.equal(judge.explain(line).always, undefined);
  assert.equal(judge.verdict(packet("shop/web > shop/web tcp 80")).passes, true);
});

test("a node's model knows its own pods alone, and others as members that it was told of", () => {
  const objects = objectsOf(dbGroup(`{ from: [${fromWeb}] }`) + shopPolicy("policyTypes: [Egress]", "out"));
  const cluster = policyWorld({ pods });
  const read = readObjects(objects);
  const own = cluster.pods.filter(({ node }) => node === "n2");
  const [membership] = read.memberships.values();
  assert.ok(membership !== undefined);
  const told = new Map([[membership.key, [[{ address: cluster.packet("shop/web > shop/web").source, ports: [] }]]]]);
  const passes = (line: string, memberships = told): boolean =>
    createJudge(localModel(read, own, cluster.model.nodes, memberships)).verdict(cluster.packet(line)).passes;
  assert.equal(passes("shop/web > shop/db tcp 80"), true, "egress of the other pod is its own node's business");
  assert.equal(passes("8.8.8.8 > shop/db tcp 80"), false);
  assert.equal(
    passes("shop/web > shop/db tcp 80", new Map()),
    false,
    "a membership that nobody has told of has no members",
  );
  assert.equal(passes("shop/db > shop/web tcp 80"), false);
});

test("narrowed: the flows that passed before and no longer do, each judged as it began", () => {
  const policy = (rule: string): string => shopPolicy(`ingress: [${rule}]`);
  const before = policyWorld({ pods, objects: policy("{ ports: [{ port: 80 }, { port: 81 }] }") });
  const after = policyWorld({ pods, objects: policy("{ ports: [{ port: 80 }] }, { ports: [{ port: 82 }] }") });
  const flows = [
    "8.8.8.8 > shop/db tcp 80",
    "8.8.8.8 > shop/db tcp 81",
    "8.8.8.8 > shop/db tcp 82",
    "8.8.8.8 > shop/db tcp 83",
    "shop/db > 8.8.8.8 tcp 81",
  ].map((line) => ({ ...before.packet(line), line }));
  assert.deepEqual(
    narrowed(before.judge, after.judge, flows).map(({ line }) => line),
    ["8.8.8.8 > shop/db tcp 81"],
  );
  assert.deepEqual(narrowed(after.judge, after.judge, flows), []);
});

test("narrowed: what passes on probation goes on, and is cut when probation ends", () => {
  const mode = (mode: string): string => dbGroup("").replace("bindableFrom", `mode: ${mode}, bindableFrom`);
  const audit = policyWorld({ pods, objects: mode("audit") });
  const enforce = policyWorld({ pods, objects: mode("enforce") });
  const open = policyWorld({ pods });
  const flows = [open.packet("8.8.8.8 > shop/db tcp 80")];
  assert.deepEqual(narrowed(open.judge, audit.judge, flows), []);
  assert.deepEqual(narrowed(audit.judge, enforce.judge, flows), flows);
});

test("a member that leaves is narrowed, too: the address that another pod may have next", () => {
  const objects = dbGroup(`{ from: [${fromWeb}] }`);
  const before = policyWorld({ pods, objects });
  const gone = policyWorld({ pods: { ...pods, "shop/web": { labels: { app: "web" }, addresses: [] } }, objects });
  const flow = before.packet("shop/web > shop/db tcp 80");
  assert.deepEqual(narrowed(before.judge, gone.judge, [flow]), [flow]);
});

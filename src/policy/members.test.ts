// Memberships: what is needed, one for what says the same, and who is in them.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { objectsOf, podOf, policyWorld, shopPolicy } from "../../test/policy-world.ts";
import { indexMembers } from "./members.ts";
import { groupMembership, podsMembership } from "./membership.ts";
import type { PolicyPod, Requirement } from "./model.ts";
import { neededMemberships, readObjects } from "./read-objects.ts";
import { selects } from "./selector.ts";

const needed = (objects: string): string[] =>
  neededMemberships(readObjects(objectsOf(objects)))
    .map(({ peer }) => peer)
    .sort();

test("a membership is needed where a rule refers to it, once, however often and in whatever words", () => {
  const from = (peer: string): string => `ingress: [{ from: [${peer}] }]`;
  const objects =
    shopPolicy(from("{ podSelector: { matchLabels: { a: x, b: y } } }")) +
    shopPolicy(
      from("{ podSelector: { matchLabels: { b: y }, matchExpressions: [{ key: a, operator: In, values: [x] }] } }"),
      "q",
    ) +
    shopPolicy(
      from(
        "{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: shop } }, podSelector: { matchLabels: { a: x, b: y } } }",
      ),
      "r",
    );
  assert.deepEqual(needed(objects), ["pods a=x,b=y of namespaces kubernetes.io/metadata.name=shop"]);
});

test("each kind of peer, and every pod where a named port of egress is anybody's", () => {
  const objects =
    shopPolicy(
      "policyTypes: [Egress]\negress: [{ ports: [{ port: http }] }, { to: [{ ipBlock: { cidr: 8.0.0.0/8 } }] }]",
    ) +
    `---
kind: SecurityGroup
metadata: { name: g }
spec: { bindableFrom: {}, ingress: [{ from: [{ securityGroup: g }, { namespaceSelector: { matchLabels: { a: b } } }] }] }
`;
  assert.deepEqual(needed(objects), [
    "members of SecurityGroup g",
    "pods * of namespaces *",
    "pods * of namespaces a=b",
  ]);
});

test("a key is 20 hexadecimal digits of the text, and stays what it was", () => {
  assert.equal(groupMembership("db").key, "4841636ec4057041aba1");
  assert.notEqual(groupMembership("a").key, groupMembership("b").key);
  assert.equal(podsMembership([], []).key, podsMembership([], []).key);
});

test("a rule for a direction that policyTypes leaves out needs nothing", () => {
  assert.deepEqual(needed(shopPolicy("policyTypes: [Egress]\ningress: [{ from: [{ podSelector: {} }] }]")), []);
});

test("members are addresses of both families with the pods' named ports", () => {
  const { model, pods } = policyWorld({
    pods: { "shop/web": { labels: { app: "web" }, ports: { "http/tcp": 80 } }, "shop/db": {} },
    objects: shopPolicy("ingress: [{ from: [{ podSelector: { matchLabels: { app: web } } }] }]"),
  });
  const ports = pods[0]?.ports;
  assert.deepEqual(
    [...model.memberships.values()],
    [
      [
        [
          { address: "10.0.0.1", ports },
          { address: "fd00::1", ports },
        ],
      ],
    ],
  );
});

test("a pod of a namespace that is not known yet is a member by the name of its namespace, not by labels that it may have", () => {
  const read = readObjects(objectsOf(""));
  const index = indexMembers([podOf("shop/web")], read);
  const of = (...namespaces: Requirement[]): number => index.membersOf(podsMembership(namespaces, [])).length;
  assert.equal(of(), 2);
  assert.equal(of({ key: "kubernetes.io/metadata.name", operator: "In", values: ["shop"] }), 2);
  assert.equal(of({ key: "kubernetes.io/metadata.name", operator: "In", values: ["bank"] }), 0);
  assert.equal(of({ key: "a", operator: "DoesNotExist", values: [] }), 0);
});

const labels = fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "2", "3"), { maxKeys: 2 });
const requirement: fc.Arbitrary<Requirement> = fc
  .tuple(
    fc.constantFrom("a", "b"),
    fc.constantFrom("In" as const, "NotIn" as const, "Exists" as const, "DoesNotExist" as const),
    fc.uniqueArray(fc.constantFrom("1", "2", "3"), { minLength: 1, maxLength: 2 }),
  )
  .map(([key, operator, values]) => ({ key, operator, values: operator.endsWith("n") ? values.sort() : [] }));
const selector = fc.array(requirement, { maxLength: 3 });

test("the index finds whom a look at every pod finds", () => {
  const pods = fc.array(fc.tuple(fc.constantFrom("n0", "n1", "n2"), labels), { maxLength: 12 });
  fc.assert(
    fc.property(
      pods,
      fc.array(labels, { minLength: 3, maxLength: 3 }),
      selector,
      selector,
      (inputs, ofNamespaces, namespaces, pods) => {
        const all = inputs.map(([namespace, labels], place) => podOf(`${namespace}/p${place}`, { labels }, place + 1));
        const read = {
          ...readObjects(objectsOf("")),
          namespaces: new Map(ofNamespaces.map((labels, at) => [`n${at}`, labels])),
        };
        const found = indexMembers(all, read).podsOf(podsMembership(namespaces, pods));
        const plain = all.filter(
          (pod: PolicyPod) =>
            selects(namespaces, read.namespaces.get(pod.namespace) ?? {}) && selects(pods, pod.labels),
        );
        assert.deepEqual(found.map(({ name }) => name).sort(), plain.map(({ name }) => name).sort());
      },
    ),
    { numRuns: 1000 },
  );
});

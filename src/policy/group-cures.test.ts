// What people are told to change about groups: each cure, carried out, lets the packet pass.

import assert from "node:assert/strict";
import { test } from "node:test";
import { policyWorld } from "../../test/policy-world.ts";

const pods = {
  "shop/web": { labels: { app: "web" } },
  "shop/db": { labels: { app: "db" } },
};
const asked = "shop/web > shop/db tcp 5432";
const web = "pod shop/web (10.0.0.1)";

const group = (name: string, ingress: string, bindableFrom = "{}"): string =>
  `---\nkind: SecurityGroup\nmetadata: { name: ${name} }\nspec: { bindableFrom: ${bindableFrom}, ingress: [${ingress}] }\n`;
const bind = (app: string, ...groups: string[]): string =>
  `---\nkind: SecurityGroupBinding\nmetadata: { name: ${app}, namespace: shop }\n` +
  `spec: { podSelector: { matchLabels: { app: ${app} } }, groups: [${groups.join(", ")}] }\n`;
const namespace = (labels: string): string => `---\nkind: Namespace\nmetadata: { name: shop, labels: ${labels} }\n`;
const sqlFrom = (peers: string): string => `{ protocol: tcp, ports: [{ port: 5432 }], from: [${peers}] }`;
const everybody = sqlFrom("{ namespaceSelector: {} }");

/** What is said to cure the judgement of groups on what comes in. */
function cures(objects: string): readonly string[] {
  const { judge, packet, passes } = policyWorld({ pods, objects });
  assert.equal(passes(asked), false);
  return judge.explain(packet(asked)).judgements[3]?.cures ?? [];
}

const passes = (objects: string): boolean => policyWorld({ pods, objects }).passes(asked);

test("a group that is not there: no rule can be added to it; it is made, or another one bound", () => {
  assert.deepEqual(cures(bind("db", "dbb")), [
    `create SecurityGroup dbb with a rule that allows tcp 5432 from ${web}, or bind pod shop/db to another group`,
  ]);
  assert.deepEqual(cures(bind("db", "dbb", "other") + group("other", "")), [
    `create SecurityGroup dbb with a rule that allows tcp 5432 from ${web}, or bind pod shop/db to another group`,
    `add a rule to SecurityGroup other that allows tcp 5432 from ${web}`,
  ]);
  assert.equal(passes(bind("db", "dbb") + group("dbb", everybody)), true);
});

test("a group that the namespace may not bind: the namespace is labelled, or the group opened to it", () => {
  const db = (ingress: string): string => group("db", ingress, "{ matchLabels: { team: shop } }") + bind("db", "db");
  const label = "label namespace shop so that bindableFrom of SecurityGroup db selects it";
  assert.deepEqual(cures(namespace("{}") + db(everybody)), [label]);
  assert.equal(passes(namespace("{ team: shop }") + db(everybody)), true);
  assert.deepEqual(cures(namespace("{}") + db("")), [
    `${label}, and add a rule to it that allows tcp 5432 from ${web}`,
  ]);
  const named = (name: string): string =>
    group("db", everybody, `{ matchLabels: { kubernetes.io/metadata.name: ${name} } }`) + bind("db", "db");
  assert.deepEqual(cures(named("bank")), ["let bindableFrom of SecurityGroup db select namespace shop"]);
  assert.equal(passes(named("shop")), true);
});

test("a rule that asks for members of a group: the pod is bound to it, and the group is one that there is", () => {
  const db = (peers: string): string => group("db", sqlFrom(peers)) + bind("db", "db");
  const more = `add a rule to SecurityGroup db that allows tcp 5432 from ${web}`;
  const [api, ops] = [group("api", ""), group("ops", "")];
  const byApi = db("{ securityGroup: api }");
  assert.deepEqual(cures(byApi + api), [`bind ${web} to SecurityGroup api`, more]);
  assert.equal(passes(byApi + api + bind("web", "api")), true);
  assert.deepEqual(cures(db("{ securityGroup: api }, { securityGroup: ops }") + api + ops), [
    `bind ${web} to one of SecurityGroup api, SecurityGroup ops`,
    more,
  ]);
  assert.deepEqual(cures(db("{ securityGroup: apii }") + api), [
    `name a SecurityGroup that is there in SecurityGroup db ingress rule 1, in place of apii, and bind ${web} to it`,
    more,
  ]);
  assert.deepEqual(cures(byApi + group("api", "", "{ matchLabels: { team: shop } }") + bind("web", "api")), [
    "label namespace shop so that bindableFrom of SecurityGroup api selects it",
    more,
  ]);
});

test("a peer that names a group which is not there is told, with what comes of it", () => {
  const objects =
    group("db", `{ from: [{ cidr: 8.0.0.0/8 }, { securityGroup: apii }] }, { from: [{ securityGroup: db }] }`) +
    "---\nkind: SecurityGroup\nmetadata: { name: out }\nspec: { bindableFrom: {}, egress: [{ to: [{ securityGroup: dbb }] }] }\n";
  assert.deepEqual(policyWorld({ pods, objects }).model.problems, [
    {
      object: "SecurityGroup db",
      path: "spec.ingress[0].from[1].securityGroup",
      message: "there is no SecurityGroup apii; the peer allows nobody",
    },
    {
      object: "SecurityGroup out",
      path: "spec.egress[0].to[0].securityGroup",
      message: "there is no SecurityGroup dbb; the peer allows nobody",
    },
  ]);
});

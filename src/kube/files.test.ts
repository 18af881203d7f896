// Files of objects: what an API server would refuse is refused, with its place and the cure.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { bindingsRefused, groupsRefused, groupsTaken, policiesRefused } from "../../test/kube-policy.contract.ts";
import { securityGroups } from "./policy-objects.ts";
import { type FileObjects, readObjectFiles } from "./files.ts";

/** Reads files of these contents, 0.yaml and on. */
function read(t: TestContext, ...contents: readonly string[]): FileObjects {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-files-"));
  t.after(() => rmSync(directory, { recursive: true }));
  contents.forEach((content, index) => writeFileSync(join(directory, `${index}.yaml`), content));
  return readObjectFiles([directory]);
}

/** What is said of them, without the directory. */
function told(t: TestContext, ...contents: readonly string[]): string {
  try {
    read(t, ...contents);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message.replaceAll(/\/\S*\//g, "") : "";
  }
}

const group = (spec: string): string =>
  `{ apiVersion: fairlead.dev/v1alpha1, kind: SecurityGroup, metadata: { name: db }, spec: ${spec} }`;
const binding = (spec: string): string =>
  `{ apiVersion: fairlead.dev/v1alpha1, kind: SecurityGroupBinding, metadata: { name: db, namespace: shop }, spec: ${spec} }`;
const policy = (spec: string): string =>
  `{ apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: { name: db, namespace: shop }, spec: ${spec} }`;
const ofAws = (spec: string): string =>
  `{ apiVersion: vpcresources.k8s.aws/v1beta1, kind: SecurityGroupPolicy, metadata: { name: db, namespace: shop }, spec: ${spec} }`;
const anybody = 'from: [{ cidr: 0.0.0.0/0 }, { cidr: "::/0" }]';

/** What is written, and what is said after place and name. */
type Case = readonly [written: string, says: string];

function refuseAll(t: TestContext, cases: readonly Case[]): void {
  for (const [written, says] of cases) {
    const [, kind] = /kind: (\w+)/.exec(written) ?? [];
    const name = kind === "SecurityGroup" ? "db" : "shop/db";
    assert.equal(told(t, written), `0.yaml, document 1: ${kind} ${name}: ${says}`, written);
  }
}

void test("keys that nobody knows are refused, with the one that may have been meant", (t) => {
  refuseAll(t, [
    [group("{ bindableFrom: {}, egres: [] }"), "spec.egres: is not known; did you mean egress?"],
    [
      group("{ bindableFrom: { team: shop } }"),
      'spec.bindableFrom.team: is not known; write matchLabels: { team: "shop" }',
    ],
    [
      group(`{ bindableFrom: {}, ingress: [{ protocl: tcp, ports: [{ port: 80 }], ${anybody} }] }`),
      "spec.ingress[0].protocl: is not known; did you mean protocol?",
    ],
    [
      group("{ bindableFrom: {}, egress: [{ from: [{ cidr: 0.0.0.0/0 }], to: [{ cidr: 0.0.0.0/0 }] }] }"),
      "spec.egress[0].from: is not known; known here: protocol, ports, icmp, description, to",
    ],
    [
      binding("{ podSelector: { tier: db }, groups: [db] }"),
      'spec.podSelector.tier: is not known; write matchLabels: { tier: "db" }',
    ],
    [
      policy("{ podSelector: { tier: db }, ingress: [] }"),
      'spec.podSelector.tier: is not known; write matchLabels: { tier: "db" }',
    ],
    [
      policy("{ ingress: [{ from: [{ namespaceSelector: { team: shop } }] }] }"),
      'spec.ingress[0].from[0].namespaceSelector.team: is not known; write matchLabels: { team: "shop" }',
    ],
    [policy("{ ingress: [{ form: [] }] }"), "spec.ingress[0].form: is not known; did you mean from?"],
    [
      policy("{ ingress: [{ ports: [{ protocl: UDP }] }] }"),
      "spec.ingress[0].ports[0].protocl: is not known; did you mean protocol?",
    ],
    [
      ofAws("{ podSelector: {}, securityGroups: { groupIDs: [db] } }"),
      "spec.securityGroups.groupIDs: is not known; did you mean groupIds?",
    ],
    [
      group("{ bindableFrom: {} }, egress: []"),
      "egress: is not known; known here: apiVersion, kind, metadata, spec, status",
    ],
  ]);
});

void test("no value is no absent key in kinds of others than the server's own, and in labels nowhere", (t) => {
  refuseAll(t, [
    [group("{ bindableFrom: {}, egress: }"), "spec.egress: has no value; write one, or leave the key away"],
    [
      policy("{ podSelector: { matchLabels: { tier: } }, ingress: [] }"),
      "spec.podSelector.matchLabels.tier: has no value; write one, or leave the key away",
    ],
    [
      "{ apiVersion: v1, kind: Pod, metadata: { name: db, namespace: shop, labels: { tier: } } }",
      "metadata.labels.tier: has no value; write one, or leave the key away",
    ],
  ]);
  assert.equal(told(t, policy("{ podSelector: {}, ingress: [{ from: , ports: [{ port: 80 }] }] }")), "");
});

void test("what a cluster has written is read again: metadata and status are the server's affair", (t) => {
  const metadata = `
metadata:
  name: db
  namespace: shop
  creationTimestamp: null
  managedFields: [{ manager: kubectl, operation: Update, fieldsV1: { "f:spec": {} } }]
  selfLink: /x`;
  const { policy: objects } = read(
    t,
    `kind: NetworkPolicy\napiVersion: networking.k8s.io/v1${metadata}\nspec: { podSelector: {} }\nstatus: {}\n`,
    `kind: SecurityGroup\napiVersion: fairlead.dev/v1alpha1${metadata.replace("  namespace: shop\n", "")}\nspec: { bindableFrom: {} }\nstatus: { later: [] }\n`,
    "kind: Pod\napiVersion: v1\nmetadata: { name: db, namespace: shop, uid: x }\nspec: { later: 1 }\nstatus: { later: 1 }\n",
  );
  assert.deepEqual([objects.networkPolicies.length, objects.groups.length], [1, 1]);
});

void test("a server may be newer than we are: keys that only files may not have are left behind", () => {
  const spec = { bindableFrom: { later: 1 }, later: 1 };
  assert.deepEqual(securityGroups.parse({ metadata: { name: "db" }, spec }).spec, { bindableFrom: {} });
});

void test("of many problems the first three are told, and how many there are besides", (t) => {
  assert.equal(told(t, group("{ bindableFrom: {}, a: 1, b: 1, c: 1, d: 1, e: 1 }")).split("; ").at(-1), "and 2 more");
});

void test("a kind that is nearly one of those that are read is refused, with the right one", (t) => {
  const cases: readonly [apiVersion: string, kind: string, says: string][] = [
    ["fairlead.dev/v1", "SecurityGroup", 'apiVersion: is "fairlead.dev/v1"; write fairlead.dev/v1alpha1'],
    ["fairlead.io/v1alpha1", "SecurityGroup", 'apiVersion: is "fairlead.io/v1alpha1"; write fairlead.dev/v1alpha1'],
    ["v1", "SecurityGroupBinding", 'apiVersion: is "v1"; write fairlead.dev/v1alpha1'],
    [
      "vpcresources.k8s.aws/v1",
      "SecurityGroupPolicy",
      'apiVersion: is "vpcresources.k8s.aws/v1"; write vpcresources.k8s.aws/v1beta1',
    ],
    ["extensions/v1beta1", "NetworkPolicy", 'apiVersion: is "extensions/v1beta1"; write networking.k8s.io/v1'],
    [
      "networking.k8s.io/v1beta1",
      "NetworkPolicy",
      'apiVersion: is "networking.k8s.io/v1beta1"; write networking.k8s.io/v1',
    ],
    ["networking.k8.io/v1", "NetworkPolicy", 'apiVersion: is "networking.k8.io/v1"; write networking.k8s.io/v1'],
    ["core/v1", "Namespace", 'apiVersion: is "core/v1"; write v1'],
    ["networking.k8s.io/v1", "Networkpolicy", "kind: is not known; did you mean NetworkPolicy?"],
    ["networking.k8s.io/v1", "NetworkPolicies", "kind: is not known; did you mean NetworkPolicy?"],
    ["v1", "pod", "kind: is not known; did you mean Pod?"],
    ["fairlead.dev/v1alpha1", "SecurityGruop", "kind: is not known; did you mean SecurityGroup?"],
    [
      "fairlead.dev/v1alpha1",
      "Firewall",
      "kind: is not known; known of fairlead.dev: SecurityGroup, SecurityGroupBinding, NodeNetwork, NodeEndpoints, BlockLedger, MembershipSlice",
    ],
  ];
  for (const [apiVersion, kind, says] of cases)
    assert.equal(
      told(t, `{ apiVersion: ${apiVersion}, kind: ${kind}, metadata: { name: db }, spec: {} }`),
      `0.yaml, document 1: ${kind} db: ${says}`,
    );
  const without: readonly [string, string][] = [
    [
      "{ kind: SecurityGroup, metadata: { name: db } }",
      "SecurityGroup db: apiVersion: is missing; write fairlead.dev/v1alpha1",
    ],
    ["{ kind: CronJob, metadata: { name: db } }", "CronJob db: apiVersion: is missing; write batch/v1"],
    ["{ kind: List, items: [] }", "List without a name: apiVersion: is missing; write v1"],
    ["{ apiVersion: v1, metadata: { name: db } }", "an object db: kind: is missing"],
    ["{ apiVersion: v1, kind: List, items: }", "a List: items: is no list of objects"],
  ];
  for (const [written, says] of without) assert.equal(told(t, written), `0.yaml, document 1: ${says}`);
});

void test("what is no affair of ours is passed over: values of charts, other kinds, namesakes in other groups, what our daemons write", (t) => {
  const texts = [
    "kind: Deployment\nreplicas: 2\n",
    "apiVersion: v2\nname: chart\n",
    "{ apiVersion: v1, kind: ConfigMap, metadata: { name: db }, data: {} }",
    "{ apiVersion: v1, kind: Service, metadata: { name: db }, spec: {} }",
    "{ apiVersion: longhorn.io/v1beta2, kind: Node, metadata: { name: db }, spec: {} }",
    "{ apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: { name: db }, spec: {} }",
    "{ apiVersion: fairlead.dev/v1alpha1, kind: NodeNetwork, metadata: { name: db }, spec: {} }",
  ];
  assert.equal(told(t, ...texts), "");
  assert.deepEqual(read(t, ...texts).problems, []);
});

void test("policies of others are told: they judge nothing here", (t) => {
  const { problems } = read(
    t,
    "{ apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: { name: x, namespace: shop } }",
    "{ apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: { name: x } }",
    "{ apiVersion: projectcalico.org/v3, kind: NetworkPolicyList, items: [{ metadata: { name: x, namespace: shop } }] }",
    policy("{ podSelector: {} }"),
    "{ apiVersion: ec2.services.k8s.aws/v1alpha1, kind: SecurityGroup, metadata: { name: x, namespace: shop } }",
  );
  assert.deepEqual(
    problems.map(({ object, path, message }) => `${object}: ${path.replace(/^.*\//, "")}: ${message}`),
    [
      "CiliumNetworkPolicy shop/x: 0.yaml, document 1: passed over, Fairlead does not read it",
      "AdminNetworkPolicy x: 1.yaml, document 1: passed over, Fairlead does not read it",
      "NetworkPolicy shop/x: 2.yaml, document 1, item 1: passed over, Fairlead does not read it",
      "SecurityGroup shop/x: 4.yaml, document 1: passed over, Fairlead does not read it",
    ],
  );
});

void test("in a list of one kind the objects need not say their kind", (t) => {
  const items = "items: [{ metadata: { name: a } }, { metadata: { name: b } }]";
  const { policy: objects } = read(t, `{ apiVersion: networking.k8s.io/v1, kind: NetworkPolicyList, ${items} }`);
  assert.equal(objects.networkPolicies.length, 2);
});

void test("the objects of the lab's scenarios are read, but for the two that a server refuses", () => {
  const directory = new URL("../../lab/scenarios/objects/", import.meta.url).pathname;
  const refused = readdirSync(directory).filter((name) => {
    try {
      readObjectFiles([join(directory, name)]);
      return false;
    } catch {
      return true;
    }
  });
  assert.deepEqual(refused.sort(), ["binding-of-nothing.yaml", "group-of-nobody.yaml"]);
});

void test("two objects of one kind and name are refused, with both places", (t) => {
  const meta = "metadata: { name: db, namespace: shop }";
  const workload = `{ apiVersion: apps/v1, kind: Deployment, ${meta}, spec: { template: { spec: {} } } }`;
  const cases: readonly [string, string][] = [
    [group("{ bindableFrom: {} }"), "SecurityGroup db"],
    [binding("{ podSelector: {}, groups: [db] }"), "SecurityGroupBinding shop/db"],
    [policy("{ podSelector: {} }"), "NetworkPolicy shop/db"],
    [ofAws("{ podSelector: {}, securityGroups: { groupIds: [db] } }"), "SecurityGroupPolicy shop/db"],
    ["{ apiVersion: v1, kind: Namespace, metadata: { name: shop } }", "Namespace shop"],
    ["{ apiVersion: v1, kind: Node, metadata: { name: n1 } }", "Node n1"],
    [`{ apiVersion: v1, kind: ServiceAccount, ${meta} }`, "ServiceAccount shop/db"],
  ];
  for (const [written, title] of cases)
    assert.equal(
      told(t, written, `${policy("{}").replace("name: db", "name: other")}\n---\n${written}`),
      `1.yaml, document 2: ${title}: 0.yaml, document 1 has one of that name, too; leave one of them out`,
    );
  assert.equal(
    told(t, workload, `{ apiVersion: v1, kind: Pod, ${meta} }`),
    "0.yaml, document 1: Pod shop/db: 1.yaml, document 1 has a pod, or what makes pods, of that name, too; leave one of them out",
  );
  const [here, there] = ["default", "shop"].map((name) => policy("{}").replace("shop", name));
  assert.equal(told(t, here ?? "", there ?? ""), "");
  assert.match(
    told(t, here ?? "", policy("{}").replace(", namespace: shop", "")),
    /NetworkPolicy default\/db: 0\.yaml/,
  );
});

void test("what an API server refuses of a spec is refused in files, and what it takes is taken", (t) => {
  // One exception that is all of its network leaves nobody: that opens nothing.
  const refusals = policiesRefused.filter(([spec]) => !JSON.stringify(spec).includes('"except":["10.0.0.0/8"]'));
  assert.equal(refusals.length, policiesRefused.length - 1);
  const written = [
    ...refusals.map(([spec]) => policy(JSON.stringify({ podSelector: {}, ...spec }))),
    ...groupsRefused.map(([spec]) => group(JSON.stringify(spec))),
    ...bindingsRefused.map(([spec]) => binding(JSON.stringify(spec))),
  ];
  for (const one of written) assert.match(told(t, one), /^0\.yaml, document 1: \w+ (shop\/)?db: spec[.:]/, one);
  for (const spec of groupsTaken) assert.equal(told(t, group(JSON.stringify(spec))), "", JSON.stringify(spec));
});

void test("networks are refused by the words of whoever reads them; names by their form", (t) => {
  const from = (peer: string): string => `{ bindableFrom: {}, ingress: [{ from: [${peer}] }] }`;
  refuseAll(t, [
    [
      group(from("{ cidr: 10.1.2.3/8 }")),
      'spec.ingress[0].from[0].cidr: "10.1.2.3/8" has bits set after its prefix; the network around it is 10.0.0.0/8',
    ],
    [
      group(from("{ cidr: 10.0.0.0/8, except: [10.1.2.3/16] }")),
      'spec.ingress[0].from[0].except[0]: "10.1.2.3/16" has bits set after its prefix; the network around it is 10.1.0.0/16',
    ],
    [
      group(from("{ cidr: 10.0.0.0/8, except: [11.0.0.0/16] }")),
      "spec.ingress[0].from[0].except[0]: 11.0.0.0/16 does not lie within 10.0.0.0/8; cut out of it what does",
    ],
    [
      policy("{ ingress: [{ from: [{ ipBlock: { cidr: 10.0.0.0/8, except: [0.0.0.0/0] } }] }] }"),
      "spec.ingress[0].from[0].ipBlock.except[0]: 0.0.0.0/0 does not lie within 10.0.0.0/8; cut out of it what does",
    ],
    [
      policy("{ ingress: [{ from: [{ ipBlock: { cidr: 10.1.2.3 } }] }] }"),
      'spec.ingress[0].from[0].ipBlock.cidr: "10.1.2.3" is not a network; the peer allows nothing; write 10.1.2.3/32',
    ],
    [
      group(`{ bindableFrom: { matchLabels: { ${Array.from({ length: 17 }, (_, at) => `k${at}: v`).join(", ")} } } }`),
      "spec.bindableFrom.matchLabels: has more than 16 keys",
    ],
  ]);
  assert.equal(told(t, policy("{ ingress: [{ from: [{ ipBlock: { cidr: 10.1.2.3/8 } }] }] }")), "", "as the server");
  const says = 'is not a name; write lower-case letters, digits and "-", which is at neither end';
  const names: readonly [string, string][] = [
    [
      group("{ bindableFrom: {} }").replace("name: db", "name: My_DB"),
      `SecurityGroup My_DB: metadata.name: "My_DB" ${says}`,
    ],
    [policy("{}").replace("name: db", "name: db-"), `NetworkPolicy shop/"db-": metadata.name: "db-" ${says}`],
    [policy("{}").replace("shop", "shop.x"), `NetworkPolicy shop.x/db: metadata.namespace: "shop.x" ${says}`],
    ["{ apiVersion: v1, kind: Namespace, metadata: { name: a.b } }", `Namespace a.b: metadata.name: "a.b" ${says}`],
  ];
  for (const [written, words] of names) assert.equal(told(t, written), `0.yaml, document 1: ${words}`);
  assert.equal(told(t, group("{ bindableFrom: {} }").replace("name: db", "name: db.internal")), "");
});

void test("what is of the wrong form is told in words, and the likely mistake with its cure", (t) => {
  const rule = (text: string): string => group(`{ bindableFrom: {}, ingress: [{ ${text}, ${anybody} }] }`);
  const ports = (text: string): string => rule(`protocol: tcp, ports: [${text}]`);
  refuseAll(t, [
    [rule("protocol: TCP"), 'spec.ingress[0].protocol: is "TCP"; write tcp'],
    [
      rule("protocol: gre"),
      "spec.ingress[0].protocol: is none of tcp, udp, sctp, icmp, icmpv6 and the numbers 0 to 255",
    ],
    [rule("protocol: 47"), 'spec.ingress[0].protocol: is 47 and must be text; write "47"'],
    [ports("{ port: http }"), 'spec.ingress[0].ports[0].port: is "http"; security groups take port numbers, not names'],
    [ports("{ port: 5432-5440 }"), "spec.ingress[0].ports[0].port: is a range; write port: 5432, endPort: 5440"],
    [ports('{ port: "80" }'), "spec.ingress[0].ports[0].port: is text; write 80 without quotes"],
    [ports("80"), "spec.ingress[0].ports[0]: is 80 and must be a map of keys"],
    [
      group("{ ingress: [] }"),
      "spec.bindableFrom: is required; {} lets every namespace bind the group, matchLabels those that have the labels",
    ],
    [
      group("{ bindableFrom: {}, ingress: [{ protocol: tcp }] }"),
      'spec.ingress[0].from: is required; { namespaceSelector: {} } is every pod of the cluster, { cidr: 0.0.0.0/0 } and { cidr: "::/0" } are everybody',
    ],
    [
      group("{ bindableFrom: {}, egress: [{}] }"),
      'spec.egress[0].to: is required; { namespaceSelector: {} } is every pod of the cluster, { cidr: 0.0.0.0/0 } and { cidr: "::/0" } are everybody',
    ],
    [group("{ bindableFrom: {}, mode: log }"), 'spec.mode: is "log"; write one of enforce, audit'],
    [policy("{ policyTypes: [ingress] }"), 'spec.policyTypes[0]: is "ingress"; write Ingress'],
    [policy("{ podSelector: 7 }"), "spec.podSelector: is 7 and must be a map of keys"],
    [
      policy("{ podSelector: { matchLabels: { tier: 1 } } }"),
      'spec.podSelector.matchLabels.tier: is 1 and must be text; write "1"',
    ],
    [policy("{ ingress: { from: [] } }"), "spec.ingress: is a map of keys and must be a list"],
    [
      policy("{ ingress: [{ ports: [{ port: 80, protocol: tcp }] }] }"),
      'spec.ingress[0].ports[0].protocol: is "tcp"; write TCP',
    ],
    [
      policy("{ ingress: [{ ports: [{ port: [80] }] }] }"),
      "spec.ingress[0].ports[0].port: must be a number, or the name of a port",
    ],
    [
      policy("{ ingress: [{ ports: [{ port: 5432-5440 }] }] }"),
      'spec.ingress[0].ports[0].port: "5432-5440" is not the name of a port, write port and endPort; this entry of ports allows nothing',
    ],
  ]);
});

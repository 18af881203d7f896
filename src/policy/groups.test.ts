// Security groups: who is in them, what they allow, and what becomes of those that cannot be had.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertPasses, assertWorld, podOf, policyWorld } from "../../test/policy-world.ts";
import { groupsOf, groupsOfPodMax } from "./groups-of.ts";
import { readObjects } from "./read-objects.ts";

const pods = {
  "shop/web": { labels: { app: "web" } },
  "shop/db": { labels: { app: "db" }, serviceAccount: "data" },
  "shop/bare": {},
  "bank/web": { labels: { app: "web" } },
};

const group = (name: string, spec: string): string =>
  `---\nkind: SecurityGroup\nmetadata: { name: ${name} }\nspec: { bindableFrom: {}, ${spec} }\n`;
const bind = (spec: string, name = "b", namespace = "shop"): string =>
  `---\nkind: SecurityGroupBinding\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec: ${spec}\n`;
const toAll = (...groups: string[]): string => bind(`{ podSelector: {}, groups: [${groups.join(", ")}] }`);

/** Groups of the pods of shop: web, db, bare. */
function bound(objects: string): string[] {
  const world = policyWorld({ pods, objects });
  const read = readObjects(world.objects);
  return world.pods.map((pod) =>
    groupsOf(pod, read)
      .groups.map(({ name }) => name)
      .join(" "),
  );
}

test("a pod that nothing binds is open", () => {
  assertWorld(
    { pods, objects: group("g", "ingress: []") },
    "yes 8.8.8.8 > shop/db tcp 80\nyes shop/db > 8.8.8.8 tcp 80",
  );
});

test("no rules inbound: nothing comes in; absent egress: everything goes out", () => {
  assertWorld(
    { pods, objects: group("g", "mode: enforce") + toAll("g") },
    "no 8.8.8.8 > shop/db tcp 80\nno shop/web > shop/db icmp 8\nyes shop/db > 8.8.8.8 tcp 80\nyes 8.8.8.8 > bank/web tcp 80",
  );
});

test("egress: [] is nothing outbound", () => {
  assertWorld(
    { pods, objects: group("g", "ingress: [{ from: [{ cidr: 0.0.0.0/0 }] }], egress: []") + toAll("g") },
    "no shop/db > 8.8.8.8 tcp 80\nyes 8.8.8.8 > shop/db tcp 80",
  );
});

test("several groups are the union of their rules; where one leaves egress open, it is open", () => {
  const a = group("a", "ingress: [{ protocol: tcp, ports: [{ port: 80 }], from: [{ cidr: 8.0.0.0/8 }] }], egress: []");
  const b = group(
    "b",
    "ingress: [{ protocol: udp, from: [{ cidr: 9.0.0.0/8 }] }], egress: [{ to: [{ cidr: 9.0.0.0/8 }] }]",
  );
  const c = group("c", "ingress: []");
  const into = "yes 8.1.1.1 > shop/db tcp 80\nyes 9.1.1.1 > shop/db udp 5\nno 9.1.1.1 > shop/db tcp 80";
  assertWorld(
    { pods, objects: a + b + toAll("a", "b") },
    `${into}\nyes shop/db > 9.1.1.1 tcp 1\nno shop/db > 8.1.1.1 tcp 1`,
  );
  assertWorld({ pods, objects: a + b + c + toAll("a", "b", "c") }, `${into}\nyes shop/db > 8.1.1.1 tcp 1`);
});

test("a peer that is a group means its members' addresses in both families, not its rules; it may be the group itself", () => {
  const objects =
    group("front", "ingress: [{ from: [{ cidr: 0.0.0.0/0 }] }]") +
    group(
      "db",
      "ingress: [{ protocol: tcp, ports: [{ port: 5432 }], from: [{ securityGroup: front }, { securityGroup: db }] }]",
    ) +
    bind("{ podSelector: { matchLabels: { app: web } }, groups: [front] }", "f") +
    bind("{ podSelector: { matchLabels: { app: db } }, groups: [db] }", "d") +
    bind("{ podSelector: {}, groups: [db] }", "d", "bank");
  assertWorld(
    { pods, objects },
    `
    yes shop/web > shop/db tcp 5432
    yes shop/web@6 > shop/db@6 tcp 5432
    no  shop/web > shop/db tcp 5433
    no  shop/bare > shop/db tcp 5432
    yes bank/web > shop/db tcp 5432
    no  8.8.8.8 > shop/db tcp 5432
    yes 8.8.8.8 > shop/web tcp 1`,
  );
});

test("peers by namespaces and pods; a namespaceSelector alone is all pods of the namespaces", () => {
  const from = (peer: string): string => group("g", `ingress: [{ from: [${peer}] }]`) + toAll("g");
  const bank = "namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: bank } }";
  assertWorld({ pods, objects: from(`{ ${bank} }`) }, "yes bank/web > shop/db tcp 80\nno shop/web > shop/db tcp 80");
  const web = "{ namespaceSelector: {}, podSelector: { matchLabels: { app: web } } }";
  assertWorld(
    { pods, objects: from(web) },
    "yes bank/web > shop/db tcp 80\nyes shop/web > shop/db tcp 80\nno shop/bare > shop/db tcp 80",
  );
});

test("protocols by name and by number, ranges of ports, messages of ICMP", () => {
  const allow = (rule: string): string =>
    group("g", `ingress: [{ ${rule}, from: [{ cidr: 0.0.0.0/0 }, { cidr: '::/0' }] }]`) + toAll("g");
  const of = (rule: string, lines: string): unknown => assertWorld({ pods, objects: allow(rule) }, lines);
  of("protocol: tcp", "yes 8.8.8.8 > shop/db tcp 1\nno 8.8.8.8 > shop/db udp 1");
  of("protocol: '6', ports: [{ port: 80 }]", "yes 8.8.8.8 > shop/db tcp 80\nno 8.8.8.8 > shop/db tcp 81");
  of("protocol: '47'", "yes 8.8.8.8 > shop/db 47\nno 8.8.8.8 > shop/db tcp 80");
  of("protocol: udp, ports: [{ port: 0, endPort: 65535 }]", "yes 8.8.8.8 > shop/db udp 9\nno 8.8.8.8 > shop/db tcp 9");
  of(
    "protocol: sctp, ports: [{ port: 5, endPort: 6 }, { port: 9 }]",
    "yes 8.8.8.8 > shop/db sctp 6\nyes 8.8.8.8 > shop/db sctp 9\nno 8.8.8.8 > shop/db sctp 7",
  );
  of("protocol: icmp", "yes 8.8.8.8 > shop/db icmp 8\nno 2001:db8::1 > shop/db@6 icmpv6 128");
  of("protocol: icmp, icmp: { type: 3 }", "yes 8.8.8.8 > shop/db icmp 3 4\nno 8.8.8.8 > shop/db icmp 8");
  of("protocol: icmp, icmp: { type: 3, code: 4 }", "yes 8.8.8.8 > shop/db icmp 3 4\nno 8.8.8.8 > shop/db icmp 3 1");
  of("protocol: icmp, icmp: { type: 8, code: 0 }", "yes 8.8.8.8 > shop/db icmp 8 0\nno 8.8.8.8 > shop/db icmp 8 1");
  of(
    "protocol: icmpv6, icmp: { type: 128 }",
    "yes 2001:db8::1 > shop/db@6 icmpv6 128\nno 2001:db8::1 > shop/db@6 icmpv6 129",
  );
  of("description: all", "yes 8.8.8.8 > shop/db 99\nyes 8.8.8.8 > shop/db icmp 8\nyes 2001:db8::1 > shop/db@6 tcp 1");
});

test("who is bound: podSelector and serviceAccountSelector must both hold; an empty selector is everybody", () => {
  const account = "---\nkind: ServiceAccount\nmetadata: { name: data, namespace: shop, labels: { kind: data } }\n";
  const g = group("g", "ingress: []") + account;
  const of = (spec: string): string[] => bound(g + bind(`{ ${spec}, groups: [g] }`));
  assert.deepEqual(of("podSelector: {}"), ["g", "g", "g", ""]);
  assert.deepEqual(of("serviceAccountSelector: {}"), ["g", "g", "g", ""]);
  assert.deepEqual(of("podSelector: { matchLabels: { app: web } }"), ["g", "", "", ""]);
  assert.deepEqual(of("serviceAccountSelector: { matchLabels: { kind: data } }"), ["", "g", "", ""]);
  assert.deepEqual(
    of("podSelector: { matchLabels: { app: web } }, serviceAccountSelector: { matchLabels: { kind: data } }"),
    ["", "", "", ""],
  );
  assert.deepEqual(
    of("podSelector: { matchLabels: { app: db } }, serviceAccountSelector: { matchLabels: { kind: data } }"),
    ["", "g", "", ""],
  );
});

test("a SecurityGroupPolicy of AWS binds as a binding does; both together are a union", () => {
  const policy = `---
kind: SecurityGroupPolicy
metadata: { name: p, namespace: shop }
spec: { podSelector: { matchLabels: { app: web } }, securityGroups: { groupIds: [sg-1, sg-2] } }
`;
  const groups = group("sg-1", "ingress: []") + group("sg-2", "ingress: []") + group("g", "ingress: []");
  assert.deepEqual(bound(groups + policy), ["sg-1 sg-2", "", "", ""]);
  assert.deepEqual(bound(groups + policy + toAll("g", "sg-1")), ["g sg-1 sg-2", "g sg-1", "g sg-1", ""]);
});

test("free text that reads as a list of groups gives a pod none of their rules, whoever comes first", () => {
  const forged = `---
kind: SecurityGroupPolicy
metadata: { name: p, namespace: bank }
spec: { podSelector: {}, securityGroups: { groupIds: ["data, SecurityGroup front"] } }
`;
  const open = "ingress: [{ from: [{ cidr: 0.0.0.0/0 }] }]";
  const objects = group("data", open) + group("front", "ingress: []") + toAll("data", "front") + forged;
  const packets = "yes 8.8.8.8 > shop/db tcp 80\nno 8.8.8.8 > bank/web tcp 80\nno bank/web > 8.8.8.8 tcp 80";
  for (const first of ["shop", "bank"]) {
    const sorted = Object.entries(pods).toSorted(
      ([a], [b]) => Number(b.startsWith(first)) - Number(a.startsWith(first)),
    );
    assertPasses(policyWorld({ pods: Object.fromEntries(sorted), objects }), packets);
  }
});

test("with neither selector it binds nobody, and says so", () => {
  const objects =
    group("g", "ingress: []") +
    "---\nkind: SecurityGroupPolicy\nmetadata: { name: p, namespace: shop }\nspec: { securityGroups: { groupIds: [g] } }\n";
  const world = policyWorld({ pods, objects });
  assertPasses(world, "yes 8.8.8.8 > shop/web tcp 80");
  assert.match(world.model.problems[0]?.message ?? "", /needs podSelector or serviceAccountSelector; it binds no pod/);
});

test("a pod whose only group is unknown is closed both ways, and the binding is told of it", () => {
  const world = policyWorld({ pods, objects: toAll("ghost") });
  assertPasses(world, "no 8.8.8.8 > shop/db tcp 80\nno shop/db > 8.8.8.8 tcp 80\nyes 8.8.8.8 > bank/web tcp 80");
  assert.deepEqual(world.model.problems, [
    {
      object: "SecurityGroupBinding shop/b",
      path: "spec.groups[0]",
      message: "there is no SecurityGroup ghost; it allows this pod nothing",
    },
  ]);
});

test("an unknown group beside a known one adds nothing and takes nothing, and has no members", () => {
  const g = group("g", "ingress: [{ from: [{ cidr: 8.0.0.0/8 }, { securityGroup: ghost }] }], egress: []");
  const world = policyWorld({ pods, objects: g + toAll("g", "ghost") });
  assertPasses(world, "yes 8.8.8.8 > shop/db tcp 80\nno shop/web > shop/db tcp 80\nno shop/db > 8.8.8.8 tcp 80");
});

test("a group that the namespace may not bind gives its pods nothing: no rule, no membership", () => {
  const objects =
    "---\nkind: Namespace\nmetadata: { name: bank, labels: { trusted: 'yes' } }\n" +
    "---\nkind: SecurityGroup\nmetadata: { name: g }\nspec: { bindableFrom: { matchLabels: { trusted: 'yes' } }, ingress: [{ from: [{ securityGroup: g }] }] }\n" +
    toAll("g") +
    bind("{ podSelector: {}, groups: [g] }", "b", "bank");
  const world = policyWorld({ pods: { ...pods, "bank/other": {} }, objects });
  assertPasses(
    world,
    `
    yes bank/web > bank/other tcp 80
    no  shop/web > bank/web tcp 80
    no  shop/web > shop/db tcp 80
    no  shop/web > 8.8.8.8 tcp 80`,
  );
  assert.deepEqual(
    world.model.problems.map(({ object, path }) => `${object} ${path}`),
    ["SecurityGroupBinding shop/b spec.groups[0]"],
  );
  const ids = world.model.subjects.map(({ ingress }) => ingress[0]?.id);
  assert.equal(ids[0], "ingress of SecurityGroup g (not bindable)");
  assert.equal(ids[3], "ingress of SecurityGroup g");
});

test("a namespace that is not known yet binds only what every namespace may", () => {
  const g = (bindableFrom: string): string =>
    `---\nkind: SecurityGroup\nmetadata: { name: g }\nspec: { bindableFrom: ${bindableFrom} }\n`;
  const groupsWithout = (bindableFrom: string): number => {
    const { objects } = policyWorld({ pods, objects: g(bindableFrom) + toAll("g") });
    return groupsOf(podOf("shop/web"), readObjects({ ...objects, namespaces: [] })).groups.length;
  };
  assert.equal(groupsWithout("{}"), 1);
  assert.equal(groupsWithout("{ matchExpressions: [{ key: untrusted, operator: DoesNotExist }] }"), 0);
});

test("more groups than a pod can have: the first by name count, the rest is refused", () => {
  const names = Array.from({ length: groupsOfPodMax + 2 }, (_, index) => `g${String(index).padStart(2, "0")}`);
  const objects =
    names.map((name) => group(name, "ingress: []")).join("") +
    toAll(...names.slice(0, 9).reverse()) +
    bind(`{ podSelector: {}, groups: [${names.slice(8).join(", ")}] }`, "c");
  const world = policyWorld({ pods, objects });
  const { groups, refused } = groupsOf(podOf("shop/web"), readObjects(world.objects));
  assert.deepEqual(
    groups.map(({ name }) => name),
    names.slice(0, groupsOfPodMax),
  );
  assert.deepEqual(
    refused.map(({ name, why }) => `${name} ${why}`),
    ["g16 too many", "g17 too many"],
  );
  assert.match(world.model.problems[0]?.message ?? "", /one more than the 16 groups/);
});

test("groups and NetworkPolicies must both allow", () => {
  const policy =
    "---\nkind: NetworkPolicy\nmetadata: { name: p, namespace: shop }\nspec: { podSelector: {}, ingress: [{ ports: [{ port: 80 }, { port: 81 }] }] }\n";
  const g = group("g", "ingress: [{ protocol: tcp, ports: [{ port: 81, endPort: 82 }], from: [{ cidr: 0.0.0.0/0 }] }]");
  const world = assertWorld(
    { pods, objects: policy + g + toAll("g") },
    "no 8.8.8.8 > shop/db tcp 80\nyes 8.8.8.8 > shop/db tcp 81\nno 8.8.8.8 > shop/db tcp 82",
  );
  const denied = (line: string): unknown => world.judge.verdict(world.packet(line)).deniedBy?.kind;
  assert.equal(denied("8.8.8.8 > shop/db tcp 80"), "groups");
  assert.equal(denied("8.8.8.8 > shop/db tcp 82"), "networkPolicy");
});

test("a pod's own node: always in; out as groups say only where that is configured", () => {
  const objects = group("g", "ingress: [], egress: []") + toAll("g");
  assertWorld(
    { pods, objects },
    "yes 192.168.0.1 > shop/db tcp 80\nyes shop/db > 192.168.0.1 tcp 80\nno shop/db > 192.168.0.2 tcp 80",
  );
  assertWorld(
    { pods, objects, options: { groupsJudgeOwnNode: true } },
    "yes 192.168.0.1 > shop/db tcp 80\nno shop/db > 192.168.0.1 tcp 80\nyes shop/db > shop/db tcp 80",
  );
});

test("audit: what no rule allows passes and is marked, as long as everything in the layer is on probation", () => {
  const audit = group("a", "ingress: [{ from: [{ cidr: 8.0.0.0/8 }] }], egress: [], mode: audit");
  const enforced = group("e", "ingress: [{ from: [{ cidr: 9.0.0.0/8 }] }], egress: []");
  const world = assertWorld(
    { pods, objects: audit + toAll("a") },
    "yes 8.8.8.8 > shop/db tcp 80\nyes 1.1.1.1 > shop/db tcp 80\nyes shop/db > 1.1.1.1 tcp 80",
  );
  const marks = (line: string): unknown => world.judge.verdict(world.packet(line)).audited;
  assert.deepEqual(marks("8.8.8.8 > shop/db tcp 80"), []);
  assert.deepEqual(marks("1.1.1.1 > shop/db tcp 80"), [
    { direction: "ingress", kind: "groups", layer: "ingress of SecurityGroup a" },
  ]);
  assertWorld(
    { pods, objects: audit + enforced + toAll("a", "e") },
    "yes 8.8.8.8 > shop/db tcp 80\nyes 9.1.1.1 > shop/db tcp 80\nno 1.1.1.1 > shop/db tcp 80",
  );
});

test("a group on probation opens nothing for a pod whose other group cannot be had", () => {
  const world = policyWorld({ pods, objects: group("a", "mode: audit") + toAll("a", "ghost") });
  assertPasses(world, "no 1.1.1.1 > shop/db tcp 80");
});

test("a NetworkPolicy on probation by its annotation", () => {
  const policy = (name: string, mode: string, port: number): string =>
    `---\nkind: NetworkPolicy\nmetadata: { name: ${name}, namespace: shop, annotations: { fairlead.dev/mode: ${mode} } }\nspec: { podSelector: {}, ingress: [{ ports: [{ port: ${port} }] }] }\n`;
  assertWorld({ pods, objects: policy("a", "audit", 80) }, "yes 8.8.8.8 > shop/db tcp 81");
  assertWorld({ pods, objects: policy("e", "enforce", 80) }, "no 8.8.8.8 > shop/db tcp 81");
  assertWorld(
    { pods, objects: policy("a", "audit", 80) + policy("e", "enforce", 82) },
    "yes 8.8.8.8 > shop/db tcp 80\nno 8.8.8.8 > shop/db tcp 81",
  );
  const world = policyWorld({ pods, objects: policy("x", "Audit", 80) });
  assertPasses(world, "no 8.8.8.8 > shop/db tcp 81");
  assert.match(world.model.problems[0]?.message ?? "", /neither audit nor enforce; the policy is enforced/);
});

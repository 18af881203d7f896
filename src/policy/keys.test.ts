// What the agents' keys change of policy: that they open what they say, and nothing else.

import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { assertPasses, assertWorld, policyWorld, shopPolicy, type WorldInput } from "../../test/policy-world.ts";
import { parseConfig } from "../base/config.ts";
import { policyKeys } from "./keys.ts";

const pods = {
  "shop/web": { labels: { app: "web" } },
  "kube-system/coredns": { labels: { "k8s-app": "kube-dns" }, node: "n2" },
  "kube-system/other": { labels: { app: "other" } },
  "bank/names": { labels: { "k8s-app": "kube-dns" } },
};
const closed = `
kind: SecurityGroup
metadata: { name: shut }
spec: { bindableFrom: {}, ingress: [], egress: [] }
---
kind: SecurityGroupBinding
metadata: { name: b, namespace: shop }
spec: { podSelector: {}, groups: [shut] }
`;

const schema = z.strictObject({ policy: policyKeys.prefault({}) });
const keysOf = (text: string): z.output<typeof policyKeys> =>
  parseConfig(schema, `policy: ${text}`, "agent.yaml").policy;
const withKeys = (text: string, more = ""): WorldInput => ({ pods, objects: closed + more, options: keysOf(text) });

test("allowDns lets a pod ask the cluster's resolvers for names, though its first group lets it send nothing", () => {
  assertWorld(withKeys("{}"), "no shop/web > kube-system/coredns udp 53\nno shop/web > kube-system/coredns tcp 53");
  assertWorld(
    withKeys("{ allowDns: true }"),
    `yes shop/web > kube-system/coredns udp 53
     yes shop/web > kube-system/coredns tcp 53
     yes shop/web@6 > kube-system/coredns@6 udp 53`,
  );
});

test("allowDns opens nothing but port 53 of the resolvers, and nothing of ingress", () => {
  assertWorld(
    withKeys("{ allowDns: true }"),
    `no shop/web > kube-system/coredns tcp 9153
     no shop/web > kube-system/coredns icmp 8
     no shop/web > kube-system/other udp 53
     no shop/web > bank/names udp 53
     no shop/web > 8.8.8.8 udp 53
     no kube-system/coredns > shop/web udp 53`,
  );
});

test("allowDns never opens what a NetworkPolicy closes, nor what the resolvers' own ingress does", () => {
  const egress = shopPolicy("policyTypes: [Egress]");
  assertWorld(withKeys("{ allowDns: true }", egress), "no shop/web > kube-system/coredns udp 53");
  const ingress = `---\nkind: NetworkPolicy\nmetadata: { namespace: kube-system, name: p }\nspec: { podSelector: {}, policyTypes: [Ingress] }\n`;
  assertWorld(withKeys("{ allowDns: true }", ingress), "no shop/web > kube-system/coredns udp 53");
});

test("allowDns names other resolvers: pods by their labels, and addresses", () => {
  const named = "{ allowDns: { namespace: bank, addresses: [169.254.20.10] } }";
  assertWorld(
    withKeys(named),
    `yes shop/web > bank/names udp 53
     yes shop/web > 169.254.20.10 tcp 53
     no shop/web > 169.254.20.10 tcp 80
     no shop/web > kube-system/coredns udp 53`,
  );
});

test("an explanation names the key where it allows", () => {
  const world = policyWorld(withKeys("{ allowDns: true }"));
  const [, groups] = world.judge.explain(world.packet("shop/web > kube-system/coredns udp 53")).judgements;
  assert.equal(groups?.outcome, "allowed");
  assert.deepEqual(groups?.objects, ["policy.allowDns"]);
  assert.match(groups?.says ?? "", /^policy\.allowDns allows udp 53, tcp 53 to pods k8s-app=kube-dns of namespaces /);
});

test("a label that is none makes nobody a resolver, and is told", () => {
  const world = policyWorld(withKeys('{ allowDns: { podLabels: { "-": x } } }'));
  assertPasses(world, "no shop/web > kube-system/coredns udp 53");
  assert.match(JSON.stringify(world.model.problems), /policy\.allowDns/);
});

test("what is wrong with a key is told by its path", () => {
  for (const [text, message] of [
    ["{ allowDns: yes please }", /policy\.allowDns: Invalid input: expected object/],
    ["{ allowDns: { podLabels: {} } }", /policy\.allowDns\.podLabels: needs at least one label/],
    ["{ allowDns: { addresses: [example] } }", /policy\.allowDns\.addresses\[0\]: /],
    ["{ metadata: shut }", /policy\.metadata: Invalid option: expected one of "open"\|"closed"/],
    ["{ allowDNS: true }", /policy: Unrecognized key: "allowDNS"/],
  ] as const)
    assert.throws(() => keysOf(text), message);
});

test("metadata closed keeps the cloud's credentials from every pod, those that nothing else judges too; names and time stay", () => {
  const lines = (word: string): string =>
    `${word} bank/names > 169.254.169.254 tcp 80
     ${word} bank/names@6 > fd00:ec2::254 tcp 80
     ${word} bank/names@6 > fd20:ce::254 tcp 80
     yes bank/names > 169.254.169.254 udp 53
     yes bank/names > 169.254.169.254 udp 123
     yes bank/names > 169.254.169.253 tcp 80
     yes bank/names > 8.8.8.8 tcp 80
     yes 192.168.0.1 > 169.254.169.254 tcp 80
     no shop/web > 169.254.169.254 tcp 80`;
  assertWorld(withKeys("{}"), lines("yes"));
  assertWorld(withKeys("{ metadata: closed }"), lines("no"));
});

test("metadata has a judgement of its own, which says what decided and what would change it", () => {
  const told = (keys: string, line: string): unknown[] => {
    const world = policyWorld(withKeys(keys));
    const [first] = world.judge.explain(world.packet(line)).judgements;
    return [first?.kind, first?.outcome, first?.objects.join(), first?.says];
  };
  const line = "bank/names > 169.254.169.254 tcp 80";
  assert.deepEqual(told("{ metadata: closed }", line), [
    "metadata",
    "denied",
    "policy.metadata",
    "policy.metadata of the agents is closed: pods do not get the credentials that 169.254.169.254 gives",
  ]);
  assert.deepEqual(told("{}", line), ["metadata", "not judged", "", "policy.metadata of the agents is open"]);
  assert.deepEqual(told("{ metadata: closed }", line.replace("tcp 80", "udp 53")), [
    "metadata",
    "not judged",
    "",
    "policy.metadata of the agents closes tcp 80 alone",
  ]);
  assert.equal(told("{ metadata: closed }", "bank/names > 8.8.8.8 tcp 80")[0], "networkPolicy");
});

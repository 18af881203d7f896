// The examples of Kubernetes' page on network policies, and what the page says that each does.

import { test } from "node:test";
import { assertWorld } from "../../test/policy-world.ts";

const pods = {
  "default/db": { labels: { role: "db" } },
  "default/front": { labels: { role: "frontend" } },
  "default/other": {},
  "mine/any": { labels: { role: "whatever" } },
  "elsewhere/front": { labels: { role: "frontend" } },
};

const policy = (spec: string): string =>
  `{ kind: NetworkPolicy, metadata: { name: example, namespace: default }, spec: ${spec} }\n`;

test("isolates role=db both ways; in from a block but its exception, from a project's namespaces, from role=frontend beside it; out to a block", () => {
  const objects = `
kind: Namespace
metadata: { name: mine, labels: { project: myproject } }
---
kind: NetworkPolicy
metadata: { name: test-network-policy, namespace: default }
spec:
  podSelector: { matchLabels: { role: db } }
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - ipBlock: { cidr: 172.17.0.0/16, except: [172.17.1.0/24] }
        - namespaceSelector: { matchLabels: { project: myproject } }
        - podSelector: { matchLabels: { role: frontend } }
      ports: [{ protocol: TCP, port: 6379 }]
  egress:
    - to: [{ ipBlock: { cidr: 10.0.0.0/24 } }]
      ports: [{ protocol: TCP, port: 5978 }]
`;
  assertWorld(
    { pods, objects },
    `
    yes default/front > default/db tcp 6379
    no  default/other > default/db tcp 6379
    yes mine/any > default/db tcp 6379
    no  elsewhere/front > default/db tcp 6379
    yes 172.17.0.0 > default/db tcp 6379
    yes 172.17.0.255 > default/db tcp 6379
    no  172.17.1.0 > default/db tcp 6379
    no  172.17.1.255 > default/db tcp 6379
    yes 172.17.2.0 > default/db tcp 6379
    yes 172.17.255.255 > default/db tcp 6379
    no  172.18.0.0 > default/db tcp 6379
    no  default/front > default/db tcp 6380
    no  default/front > default/db udp 6379
    no  default/front > default/db icmp 8
    yes default/front@6 > default/db@6 tcp 6379
    yes default/db > 10.0.0.200 tcp 5978
    no  default/db > 10.0.1.0 tcp 5978
    no  default/db > 10.0.0.200 tcp 5979
    no  default/db@6 > fd00::99 tcp 5978
    yes default/other > 10.0.1.0 tcp 5979
    yes elsewhere/front > default/other tcp 80`,
  );
});

const alice = {
  "alices/client": { labels: { role: "client" } },
  "alices/plain": {},
  "default/client": { labels: { role: "client" } },
  "default/db": { labels: { role: "db" } },
  "third/client": { labels: { role: "client" } },
};
const ofAlice = "kind: Namespace\nmetadata: { name: alices, labels: { user: alice } }\n---\n";

test("namespaceSelector and podSelector in one item: both must hold", () => {
  const both =
    "{ namespaceSelector: { matchLabels: { user: alice } }, podSelector: { matchLabels: { role: client } } }";
  assertWorld(
    { pods: alice, objects: ofAlice + policy(`{ podSelector: {}, ingress: [{ from: [${both}] }] }`) },
    `
    yes alices/client > default/db tcp 80
    no  alices/plain > default/db tcp 80
    no  default/client > default/db tcp 80
    no  third/client > default/db tcp 80`,
  );
});

test("namespaceSelector and podSelector in two items: either is enough, and podSelector means the own namespace", () => {
  const either =
    "{ namespaceSelector: { matchLabels: { user: alice } } }, { podSelector: { matchLabels: { role: client } } }";
  assertWorld(
    { pods: alice, objects: ofAlice + policy(`{ podSelector: {}, ingress: [{ from: [${either}] }] }`) },
    `
    yes alices/client > default/db tcp 80
    yes alices/plain > default/db tcp 80
    yes default/client > default/db tcp 80
    no  third/client > default/db tcp 80`,
  );
});

const defaults: readonly [name: string, spec: string, lines: string][] = [
  [
    "default deny all ingress traffic: only of this namespace, and egress stays as it was",
    "{ podSelector: {}, policyTypes: [Ingress] }",
    `
    no  default/other > default/db tcp 80
    no  8.8.8.8 > default/db udp 53
    no  default/other > default/db icmp 8
    yes default/db > 8.8.8.8 tcp 443
    yes default/db > mine/any tcp 443
    yes 8.8.8.8 > mine/any tcp 443`,
  ],
  [
    "allow all ingress traffic",
    "{ podSelector: {}, ingress: [{}], policyTypes: [Ingress] }",
    `
    yes default/other > default/db tcp 80
    yes 8.8.8.8 > default/db udp 53
    yes 8.8.8.8 > default/db icmp 8
    yes 8.8.8.8 > default/db 47
    yes default/db > 8.8.8.8 tcp 443`,
  ],
  [
    "default deny all egress traffic: ingress stays as it was",
    "{ podSelector: {}, policyTypes: [Egress] }",
    `
    no  default/db > 8.8.8.8 tcp 443
    no  default/db > mine/any udp 53
    no  default/db > default/other icmp 8
    yes 8.8.8.8 > default/db tcp 80
    yes mine/any > default/db tcp 80`,
  ],
  [
    "allow all egress traffic",
    "{ podSelector: {}, egress: [{}], policyTypes: [Egress] }",
    `
    yes default/db > 8.8.8.8 tcp 443
    yes default/db > mine/any icmp 8
    yes 8.8.8.8 > default/db tcp 80`,
  ],
  [
    "default deny all ingress and all egress traffic",
    "{ podSelector: {}, policyTypes: [Ingress, Egress] }",
    `
    no  default/db > default/other tcp 80
    no  8.8.8.8 > default/db tcp 80
    no  default/db > 8.8.8.8 tcp 80
    yes mine/any > elsewhere/front tcp 80`,
  ],
  [
    "a range of ports: from port to endPort, both of them too",
    "{ podSelector: { matchLabels: { role: db } }, policyTypes: [Egress], egress: [{ to: [{ ipBlock: { cidr: 10.0.0.0/24 } }], ports: [{ protocol: TCP, port: 32000, endPort: 32768 }] }] }",
    `
    no  default/db > 10.0.0.9 tcp 31999
    yes default/db > 10.0.0.9 tcp 32000
    yes default/db > 10.0.0.9 tcp 32500
    yes default/db > 10.0.0.9 tcp 32768
    no  default/db > 10.0.0.9 tcp 32769
    no  default/db > 10.0.0.9 udp 32500
    no  default/db > 10.0.1.9 tcp 32500`,
  ],
  [
    "several namespaces by their labels' values",
    "{ podSelector: {}, policyTypes: [Egress], egress: [{ to: [{ namespaceSelector: { matchExpressions: [{ key: kubernetes.io/metadata.name, operator: In, values: [mine, third] }] } }] }] }",
    `
    yes default/db > mine/any tcp 80
    no  default/db > elsewhere/front tcp 80
    no  default/db > default/other tcp 80`,
  ],
  [
    "a namespace by its name, by the label that nobody has to write",
    "{ podSelector: {}, ingress: [{ from: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: elsewhere } } }] }] }",
    `
    yes elsewhere/front > default/db tcp 80
    no  mine/any > default/db tcp 80
    no  default/other > default/db tcp 80`,
  ],
];

for (const [name, spec, lines] of defaults) {
  test(name, () => {
    assertWorld({ pods, objects: policy(spec) }, lines);
  });
}

test("default deny and a policy that allows: what either allows passes, in any order", () => {
  const deny = "{ kind: NetworkPolicy, metadata: { name: deny, namespace: default }, spec: { podSelector: {} } }\n";
  const allow = policy("{ podSelector: { matchLabels: { role: db } }, ingress: [{ from: [{ podSelector: {} }] }] }");
  const lines = `
    yes default/other > default/db tcp 80
    no  default/db > default/other tcp 80
    no  mine/any > default/db tcp 80`;
  assertWorld({ pods, objects: `${deny}---\n${allow}` }, lines);
  assertWorld({ pods, objects: `${allow}---\n${deny}` }, lines);
});

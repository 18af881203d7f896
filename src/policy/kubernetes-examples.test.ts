// Every example of Kubernetes' own page on network policies, word for word, and what the page says that it does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { policyWorld } from "../../test/policy-world.ts";

const pods = {
  "default/db": { labels: { role: "db" } },
  "default/front": { labels: { role: "frontend" } },
  "default/other": {},
  "myproject/any": { labels: { role: "whatever" } },
  "elsewhere/front": { labels: { role: "frontend" } },
};
const myproject = "{ kind: Namespace, metadata: { name: myproject, labels: { project: myproject } } }";

/** Says of each line whether it passes: "yes" or "no" before the packet. */
function expect(objects: string, lines: string): void {
  const world = policyWorld({ pods, objects });
  assert.deepEqual(world.model.problems, []);
  for (const line of lines.trim().split("\n")) {
    const [, word = "", packet = ""] = /^\s*(yes|no)\s+(.*)$/.exec(line) ?? [];
    assert.equal(world.passes(packet), word === "yes", line.trim());
  }
}

test("the example with ipBlock, namespaceSelector and podSelector", () => {
  expect(
    `
${myproject}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: test-network-policy
  namespace: default
spec:
  podSelector:
    matchLabels:
      role: db
  policyTypes:
  - Ingress
  - Egress
  ingress:
  - from:
    - ipBlock:
        cidr: 172.17.0.0/16
        except:
        - 172.17.1.0/24
    - namespaceSelector:
        matchLabels:
          project: myproject
    - podSelector:
        matchLabels:
          role: frontend
    ports:
    - protocol: TCP
      port: 6379
  egress:
  - to:
    - ipBlock:
        cidr: 10.0.0.0/24
    ports:
    - protocol: TCP
      port: 5978
`,
    `
    yes default/front > default/db tcp 6379
    no  default/other > default/db tcp 6379
    yes myproject/any > default/db tcp 6379
    no  elsewhere/front > default/db tcp 6379
    yes 172.17.0.255 > default/db tcp 6379
    yes 172.17.2.0 > default/db tcp 6379
    no  172.17.1.0 > default/db tcp 6379
    no  172.17.1.255 > default/db tcp 6379
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
    yes elsewhere/front > default/other tcp 80
`,
  );
});

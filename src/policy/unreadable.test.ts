// Objects that cannot be read as they are: they are told of, open nothing and disturb nobody.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertPasses, policyWorld, shopPolicy } from "../../test/policy-world.ts";
import { readGroupPorts } from "./port.ts";

const pods = {
  "shop/web": { labels: { app: "web" } },
  "shop/db": { labels: { app: "db" }, ports: { "http/tcp": 80 } },
};

const inGroup = (rule: string): string => `---
kind: SecurityGroup
metadata: { name: g }
spec: { bindableFrom: {}, ingress: [${rule}, { protocol: tcp, ports: [{ port: 7 }], from: [{ cidr: 8.0.0.0/8 }] }] }
---
kind: SecurityGroupBinding
metadata: { name: b, namespace: shop }
spec: { podSelector: {}, groups: [g] }
`;
const anybody = "from: [{ cidr: 0.0.0.0/0 }]";

/** [what is written, where it is wrong, what is said] */
type Case = readonly [written: string, path: string, message: RegExp];

const policyCases: readonly Case[] = [
  ["{ from: [{ ipBlock: { cidr: 8.0.0.0/33 } }] }", "from[0].ipBlock.cidr", /"8.0.0.0\/33" is not a network/],
  ["{ from: [{ ipBlock: { cidr: 8.8.8.8 } }] }", "from[0].ipBlock.cidr", /not a network/],
  ["{ from: [{ ipBlock: { cidr: '' } }] }", "from[0].ipBlock.cidr", /not a network/],
  ["{ from: [{ ipBlock: { cidr: 0.0.0.0/0, except: [10/8] } }] }", "from[0].ipBlock.except[0]", /"10\/8" is not/],
  ["{ from: [{}] }", "from[0]", /names nobody/],
  ["{ from: [{ ipBlock: { cidr: 0.0.0.0/0 }, podSelector: {} }] }", "from[0]", /ipBlock stands alone/],
  [
    "{ from: [{ podSelector: { matchExpressions: [{ key: a, operator: NotIn }] } }] }",
    "from[0].podSelector.matchExpressions[0]",
    /NotIn needs values; the selector selects nothing/,
  ],
  [
    "{ from: [{ namespaceSelector: { matchExpressions: [{ key: a, operator: DoesNotExist, values: [x] }] } }] }",
    "from[0].namespaceSelector.matchExpressions[0]",
    /takes no values/,
  ],
  [
    "{ from: [{ podSelector: { matchExpressions: [{ key: a/b/c, operator: DoesNotExist }] } }] }",
    "from[0].podSelector.matchExpressions[0]",
    /"a\/b\/c" is not the key of a label/,
  ],
  ["{ ports: [{ port: 0 }] }", "ports[0].port", /0 is not a port/],
  ["{ ports: [{ port: 65536 }] }", "ports[0].port", /65536 is not a port/],
  ["{ ports: [{ port: 80, endPort: 79 }] }", "ports[0].endPort", /79 is smaller than port, 80/],
  ["{ ports: [{ port: 80, endPort: 65536 }] }", "ports[0].endPort", /65536 is not a port/],
  ["{ ports: [{ endPort: 80 }] }", "ports[0].endPort", /endPort needs port/],
  ["{ ports: [{ port: http, endPort: 80 }] }", "ports[0].endPort", /a named port is no begin of a range/],
  ["{ ports: [{ port: '80' }] }", "ports[0].port", /"80" is not the name of a port/],
  ["{ ports: [{ port: sixteen-letters-x }] }", "ports[0].port", /is not the name of a port/],
];

for (const [rule, path, message] of policyCases) {
  test(`NetworkPolicy, ${rule}: told, allows nothing, and the rule beside it stands`, () => {
    const objects = shopPolicy(`ingress: [${rule}, { ports: [{ port: 7 }] }]`);
    const world = policyWorld({ pods, objects });
    const [problem, ...more] = world.model.problems;
    assert.deepEqual(more, []);
    assert.equal(problem?.object, "NetworkPolicy shop/p");
    assert.equal(problem?.path, `spec.ingress[0].${path}`);
    assert.match(problem?.message ?? "", message);
    assertPasses(
      world,
      "no 8.8.8.8 > shop/db tcp 80\nno shop/web > shop/db tcp 79\nno shop/web > shop/db icmp 8\nyes 8.8.8.8 > shop/db tcp 7",
    );
  });
}

const groupCases: readonly Case[] = [
  [`{ ports: [{ port: 80 }], ${anybody} }`, "ports", /ports need a protocol/],
  [`{ icmp: { type: 8 }, ${anybody} }`, "icmp", /a message needs a protocol/],
  [`{ protocol: icmp, ports: [{ port: 80 }], ${anybody} }`, "ports", /icmp has no ports/],
  [`{ protocol: '47', ports: [{ port: 80 }], ${anybody} }`, "ports", /protocol 47 has no ports/],
  [`{ protocol: tcp, icmp: { type: 8 }, ${anybody} }`, "icmp", /tcp has no such messages/],
  [`{ protocol: icmp, icmp: { type: 8 }, ports: [{ port: 1 }], ${anybody} }`, "ports", /not both/],
  [`{ protocol: tcp, ports: [], ${anybody} }`, "ports", /an empty list is no port/],
  [
    "{ protocol: tcp, ports: [{ port: 80, endPort: 79 }], from: [{ cidr: 0.0.0.0/0 }] }",
    "ports[0].endPort",
    /smaller than port/,
  ],
  ["{ from: [{}] }", "from[0]", /a peer is one of/],
  ["{ from: [{ cidr: 0.0.0.0/0, securityGroup: g }] }", "from[0]", /a peer is one of/],
  ["{ from: [{ podSelector: {} }] }", "from[0]", /a peer is one of/],
  ["{ from: [{ securityGroup: g, except: [10.0.0.0/8] }] }", "from[0]", /except is cut out of a cidr/],
  ["{ from: [{ cidr: 0.0.0.0/0, podSelector: {} }] }", "from[0]", /podSelector selects among/],
  ["{ from: [{ cidr: 0.0.0.0/0, except: [x] }] }", "from[0].except[0]", /"x" is not a network/],
  [
    "{ from: [{ namespaceSelector: { matchExpressions: [{ key: a, operator: NotIn, values: ['x y'] }] } }] }",
    "from[0].namespaceSelector.matchExpressions[0]",
    /"x y" is not the value of a label/,
  ],
];

for (const [rule, path, message] of groupCases) {
  test(`SecurityGroup, ${rule}: told, allows nothing, and the rule beside it stands`, () => {
    const world = policyWorld({ pods, objects: inGroup(rule) });
    const [problem, ...more] = world.model.problems;
    assert.deepEqual(more, []);
    assert.equal(problem?.object, "SecurityGroup g");
    assert.equal(problem?.path, `spec.ingress[0].${path}`);
    assert.match(problem?.message ?? "", message);
    assertPasses(
      world,
      "no 8.8.8.8 > shop/db tcp 80\nno shop/web > shop/db tcp 79\nno shop/web > shop/db icmp 8\nyes 8.8.8.8 > shop/db tcp 7",
    );
  });
}

test("a protocol that is no number of one, should a server ever let it pass", () => {
  for (const protocol of ["256", "999", "6 ", "TCP", "-1", ""]) {
    const said: string[] = [];
    assert.equal(
      readGroupPorts({ protocol, from: [] }, "spec.ingress[0]", (path, message) => said.push(`${path}: ${message}`)),
      undefined,
    );
    assert.deepEqual(said, [
      `spec.ingress[0].protocol: ${JSON.stringify(protocol)} is not an IP protocol (0-255); the rule allows nothing`,
    ]);
  }
});

test("of a list with one bad entry the others count", () => {
  const objects = shopPolicy(
    "ingress: [{ from: [{ ipBlock: { cidr: x } }, { ipBlock: { cidr: 8.0.0.0/8 } }], ports: [{ port: 0 }, { port: 80 }] }]",
  );
  const world = policyWorld({ pods, objects });
  assert.equal(world.model.problems.length, 2);
  assertPasses(world, "yes 8.8.8.8 > shop/db tcp 80\nno 8.8.8.8 > shop/db tcp 81\nno 9.9.9.9 > shop/db tcp 80");
});

test("an egress rule for a bad port allows nothing, to nobody", () => {
  const world = policyWorld({ pods, objects: shopPolicy("policyTypes: [Egress]\negress: [{ ports: [{ port: 0 }] }]") });
  assertPasses(world, "no shop/db > 8.8.8.8 tcp 80\nno shop/db > shop/web tcp 80");
});

test("a selector that no slice could carry allows nothing", () => {
  const values = Array.from({ length: 300 }, (_, index) => `a-value-that-is-rather-long-${index}`).join(", ");
  const objects = shopPolicy(
    `ingress: [{ from: [{ podSelector: { matchExpressions: [{ key: app, operator: NotIn, values: [${values}] }] } }] }]`,
  );
  const world = policyWorld({ pods, objects });
  assert.match(world.model.problems[0]?.message ?? "", /at most 8192 can be told to nodes/);
  assertPasses(world, "no shop/web > shop/db tcp 80");
});

test("bindableFrom or a binding's selector that cannot be read binds nobody", () => {
  const bad = "{ matchExpressions: [{ key: a, operator: NotIn }] }";
  const from = inGroup(`{ ${anybody} }`).replace("bindableFrom: {}", `bindableFrom: ${bad}`);
  const world = policyWorld({ pods, objects: from });
  assert.deepEqual(
    world.model.problems.map(({ object, path }) => `${object} ${path}`),
    ["SecurityGroup g spec.bindableFrom.matchExpressions[0]", "SecurityGroupBinding shop/b spec.groups[0]"],
  );
  assertPasses(world, "no 8.8.8.8 > shop/db tcp 80");
  const binding = inGroup(`{ ${anybody} }`).replace("podSelector: {}", `podSelector: ${bad}`);
  const unbound = policyWorld({ pods, objects: binding });
  assert.equal(unbound.model.problems[0]?.path, "spec.podSelector.matchExpressions[0]");
  assert.deepEqual(
    unbound.model.subjects.flatMap(({ ingress }) => ingress),
    [],
  );
});

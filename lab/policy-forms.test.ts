// Steps about who may talk to whom: every form, every refusal with its place.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Action, Expectation } from "./actions.ts";
import { parseScenario } from "./scenario.ts";

const stage = [
  "cluster kubernetes nodes=2 outside=yes",
  "namespace shop",
  "pod a on node-1",
  "pod b on node-2 in shop",
  "hold a connection from a to b",
].join("\n");

function lastAction(step: string, before = stage): Action | undefined {
  return parseScenario(`${before}\n${step}`, "x.txt").steps.at(-1)?.action;
}

void describe("forms", () => {
  const plain = { node: "node-1", labels: {}, ports: [] };
  const steps: [string, Action][] = [
    ["namespace bank labels team=a,zone=", { do: "add namespace", namespace: "bank", labels: { team: "a", zone: "" } }],
    ["pod c on node-1 in shop", { do: "add pod", pod: "c", wish: { ...plain, namespace: "shop" } }],
    [
      "pod c on node-1 in shop labels app=web,example.com/tier=front account web ports http=8080/tcp,dns=5353/udp",
      {
        do: "add pod",
        pod: "c",
        wish: {
          node: "node-1",
          namespace: "shop",
          labels: { app: "web", "example.com/tier": "front" },
          account: "web",
          ports: [
            { name: "http", port: 8080, protocol: "tcp" },
            { name: "dns", port: 5353, protocol: "udp" },
          ],
        },
      },
    ],
    ["label pod b app=db,tier-", { do: "label", kind: "pod", name: "b", labels: { app: "db", tier: null } }],
    ["label namespace shop team=b", { do: "label", kind: "namespace", name: "shop", labels: { team: "b" } }],
    ["apply deny-all.yaml", { do: "objects", change: "apply", file: "deny-all.yaml" }],
    ["delete deny-all.yaml", { do: "objects", change: "delete", file: "deny-all.yaml" }],
    ["hold a connection from b to outside port 8080", { do: "hold", pair: { from: "b", to: "outside" }, port: 8080 }],
  ];
  for (const [text, action] of steps) void test(text, () => assert.deepEqual(lastAction(text), action));

  const pair = { from: "a", to: "b" };
  const expectations: [string, Expectation][] = [
    ['apply x.yaml fails with "is invalid"', { expect: "failing apply", file: "x.yaml", words: "is invalid" }],
    [
      "group web has 1 member and is enforced on 2 nodes",
      { expect: "enforced group", group: "web", members: 1, nodes: 2 },
    ],
    ["every flow passes or not as fairlead why says", { expect: "flows", as: "why says" }],
    [
      'fairlead why from a to outside port 80 says "no rule allows"',
      { expect: "explained flow", pair: { from: "a", to: "outside" }, port: 80, words: "no rule allows" },
    ],
    [
      'node-2 tells that a to b was denied by "NetworkPolicy shop/closed"',
      { expect: "told denial", node: "node-2", pair, object: "NetworkPolicy shop/closed" },
    ],
    ["the connection from a to b goes on", { expect: "held connection", pair, is: "going on" }],
    [
      "the connection from a to b is reset within 2s",
      { expect: "held connection", pair, is: "reset", withinMs: 2_000 },
    ],
    [
      "a reaches b by tcp port 8080 over v4",
      {
        expect: "reach",
        pairs: pair,
        protocols: ["tcp"],
        families: [4],
        port: 8080,
        ownAddress: false,
        not: false,
      },
    ],
  ];
  for (const [text, expectation] of expectations) {
    void test(text, () => {
      assert.deepEqual(lastAction(`expect ${text}`), { do: "expect", expectation, withinMs: 0 });
    });
  }

  void test("a table as before, once there was one", () => {
    const before = `${stage}\nexpect every flow passes or not as fairlead why says`;
    const expectation: Expectation = { expect: "flows", as: "before" };
    assert.deepEqual(lastAction("expect every flow passes or not as before", before), {
      do: "expect",
      expectation,
      withinMs: 0,
    });
  });
});

void describe("refusals name file, line and cure", () => {
  const cases: [string, RegExp][] = [
    ["namespace shop", /^x\.txt:6: .*: there is a namespace shop already$/],
    ["namespace default", /there is a namespace default already$/],
    ["pod c on node-1 in bank", /there is no namespace bank at this point$/],
    ["pod c on node-1 labels app", /labels are KEY=VALUE, joined by commas; not app$/],
    ["pod c on node-1 labels app=a,tier-", /labels are KEY=VALUE, joined by commas; not app=a,tier-$/],
    ["pod c on node-1 labels app=a,app=b", /label app is said twice$/],
    [
      "pod c on node-1 ports http=8080",
      /ports are NAME=NUMBER\/tcp or NAME=NUMBER\/udp, joined by commas; not http=8080$/,
    ],
    ["pod c on node-1 ports http=80/tcp,http=81/tcp", /port http is said twice$/],
    ["pod c on node-1 ports http=65536/tcp", /not http=65536\/tcp$/],
    ["pod c on node-1 hostNetwork ports http=80/tcp", /ports of a hostNetwork pod would be its node's$/],
    ["label pod c app=a", /there is no pod or hostNetwork pod c at this point$/],
    ["label namespace bank app=a", /there is no namespace bank at this point$/],
    ["apply ../x.yaml", /is no known step/],
    ["expect the connection from b to a goes on", /no connection is held from b to a$/],
    ["expect the connection from a to b is reset within 0s", /a cut takes 1 to 120 s$/],
    ["expect every flow passes or not as before", /nothing was before/],
    ['expect fairlead why from a to c port 80 says "no rule"', /there is no .* c at this point$/],
  ];
  for (const [text, message] of cases) {
    void test(text, () => assert.throws(() => lastAction(text), { name: "Fault", code: "lab-failed", message }));
  }

  const alone = "cluster routes nodes=1\npod a on node-1";
  for (const step of ["namespace shop", "label pod a app=a", "apply x.yaml", "pod c on node-1 labels app=a"]) {
    void test(`without Kubernetes: ${step}`, () =>
      assert.throws(() => lastAction(step, alone), /there is no Kubernetes in this cluster/));
  }
  void test("nobody is outside", () =>
    assert.throws(() => lastAction("expect a reaches outside", alone), /there is no .* outside at this point/));
});

// Everything that can be wrong with a cluster's objects, one at a time: what is found, about which node, and that nothing else is.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  aCluster,
  aLease,
  aLedger,
  aNetwork,
  aNode,
  aPod,
  aProgram,
  madeAt,
  nowMs,
  someEndpoints,
} from "../../../test/cli-objects.ts";
import { type Finding, findingsShownMax, findingsTable, foreign, sortFindings, standing } from "./finding.ts";
import type { ClusterObjects } from "./read.ts";
import { summarize } from "./summary.ts";
import { viewCluster } from "./view.ts";

const find = (part: Partial<ClusterObjects>): Finding[] => summarize(viewCluster(aCluster(part)), nowMs).findings;

const condition = (status: string, reason: string, message: string): object => ({
  conditions: [{ type: "BlocksReady", status, reason, message, lastTransitionTime: madeAt }],
});
const web = { pod: "web", addresses: ["10.4.1.2", "fd00:4:1::2"] };
const others = [
  { pod: "api", addresses: ["10.4.2.3", "fd00:4:2::3"] },
  { pod: "db", addresses: ["10.4.2.2", "fd00:4:2::2"] },
];
const usual = aCluster();
const endpoints = (one: ClusterObjects["endpoints"][number]): Partial<ClusterObjects> => ({
  endpoints: [one, ...usual.endpoints.slice(1)],
});
const network = (part: Parameters<typeof aNetwork>[1]): Partial<ClusterObjects> => ({
  networks: [aNetwork(1, part), aNetwork(2)],
});

/** What is changed, and all that has to be found then: "state code node" and a piece of its words. */
const cases: [title: string, part: Partial<ClusterObjects>, ...found: [what: string, says: RegExp][]][] = [
  ["a cluster that is well", {}],
  ["an empty cluster with a controller", { nodes: [], networks: [], endpoints: [], pods: [] }],
  ["a node without a NodeNetwork", { networks: [aNetwork(2)] }, ["bad no-agent node-1", /no agent has reported/]],
  [
    "an agent that reports for an earlier Node",
    network({ spec: { nodeUid: "old" } }),
    ["bad agent-of-earlier-node node-1", /earlier Node/],
  ],
  ["no answer of the controller", network({ status: null }), ["bad unanswered node-1", /has not answered/]],
  [
    "an answer about an earlier Node",
    network({ status: { nodeUid: "old" } }),
    ["bad answer-of-earlier-node node-1", /earlier Node/],
  ],
  [
    "a range that is full",
    network({ status: { blocks: [], ...condition("False", "RangeFull", "none is free") } }),
    ["bad no-blocks node-1", /has no blocks: RangeFull: none is free/],
  ],
  [
    "blocks that overlap",
    network({ status: condition("False", "Overlap", "10.4.1.0/24 overlaps") }),
    ["bad blocks-troubled node-1", /Overlap: 10\.4\.1\.0/],
  ],
  [
    "blocks that are odd",
    network({ status: condition("True", "OutsideRanges", "10.4.1.0/24 lies outside") }),
    ["warn blocks-odd node-1", /OutsideRanges/],
  ],
  ["a stale answer", network({ generation: 2 }), ["warn answer-stale node-1", /answered generation 1.*written 2/]],
  ["a node without an address", network({ status: { addresses: [] } }), ["bad no-address node-1", /no address/]],
  [
    "a fault that an agent reports",
    network({ spec: { faults: [{ code: "other-segment", message: "node b is elsewhere", since: madeAt }] } }),
    ["bad agent-fault node-1", /^other-segment: node b is elsewhere$/],
  ],
  [
    "two versions",
    network({ spec: { agentVersion: "0.2.0" } }),
    ["warn version-skew -", /0\.1\.0 1 agent, 0\.2\.0 1 agent$/],
  ],
  [
    "a node that is not ready",
    {
      nodes: [aNode(1, { conditions: [{ type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" }] }), aNode(2)],
    },
    ["warn node-not-ready node-1", /NodeStatusUnknown/],
  ],
  [
    "an agent that crashes",
    {
      programs: [
        aProgram("agent", "node-1"),
        aProgram("agent", "node-2", {
          containerStatuses: [{ ready: false, state: { waiting: { reason: "CrashLoopBackOff" } } }],
        }),
      ],
    },
    ["bad agent-not-running node-2", /CrashLoopBackOff/],
  ],
  [
    "a node without an agent's pod",
    { programs: [aProgram("agent", "node-2")] },
    ["bad agent-not-running node-1", /no agent pod/],
  ],
  [
    "a controller of another version",
    {
      programs: [
        { ...aProgram("controller", "node-1"), spec: { containers: [{ image: "reg:5000/fairlead:0.3.0@sha256:ab" }] } },
      ],
    },
    ["warn version-skew -", /0\.3\.0 1 controller/],
  ],
  [
    "attachments that are not published",
    { endpoints: usual.endpoints.slice(1) },
    ["bad unpublished node-1", /not published/],
  ],
  [
    "attachments of an earlier Node",
    endpoints(someEndpoints(1, [web], "old")),
    ["bad endpoints-of-earlier-node node-1", /earlier Node/],
  ],
  [
    "objects whose Node is gone",
    {
      nodes: [aNode(1)],
      pods: usual.pods.filter(({ spec }) => spec.nodeName === "node-1"),
      endpoints: usual.endpoints.slice(0, 1),
    },
    ["warn node-gone node-2", /Node is gone/],
  ],
  [
    "a pod that no attachment has",
    endpoints(someEndpoints(1, [])),
    ["bad pod-unpublished node-1", /has 10\.4\.1\.2 fd00:4:1::2, and NodeEndpoints node-1 knows no attachment/],
  ],
  [
    "a pod whose name an earlier pod's attachment has",
    endpoints(someEndpoints(1, [{ ...web, uid: "old" }])),
    ["bad address-twice -", /shop\/web \(old\) on node-1, shop\/web \(uid-web\) on node-1/],
    ["bad address-twice -", /./],
    ["bad pod-unpublished node-1", /./],
    ["warn endpoint-without-pod node-1", /another now \(uid uid-web\)/],
  ],
  [
    "a static pod under its own uid",
    {
      ...endpoints(someEndpoints(1, [{ ...web, uid: "hash" }])),
      pods: [
        aPod("web", {
          node: "node-1",
          ips: web.addresses,
          meta: { annotations: { "kubernetes.io/config.mirror": "hash" } },
        }),
        ...usual.pods.slice(1),
      ],
    },
  ],
  [
    "a pod that tells another address",
    { pods: [aPod("web", { node: "node-1", ips: ["10.4.1.9"] }), ...usual.pods.slice(1)] },
    ["bad pod-other-address node-1", /tells 10\.4\.1\.9, its attachment has 10\.4\.1\.2 fd00:4:1::2/],
  ],
  [
    "an attachment whose pod is gone",
    { pods: usual.pods.slice(1) },
    ["warn endpoint-without-pod node-1", /its pod is gone/],
  ],
  [
    "an attachment of a pod that is bound elsewhere",
    { pods: [aPod("web", { node: "node-2" }), ...usual.pods.slice(1)] },
    ["warn endpoint-without-pod node-1", /bound to node node-2/],
  ],
  [
    "an address outside of the node's blocks",
    {
      ...endpoints(someEndpoints(1, [{ ...web, addresses: ["10.4.7.2"] }])),
      pods: [aPod("web", { node: "node-1" }), ...usual.pods.slice(1)],
    },
    ["bad endpoint-outside-blocks node-1", /10\.4\.7\.2 lies in no block of node-1/],
  ],
  [
    "one address twice",
    {
      endpoints: [someEndpoints(1, [web]), someEndpoints(2, [...others, { pod: "new", addresses: ["10.4.2.2"] }])],
      pods: [...usual.pods, aPod("new", { node: "node-2" })],
    },
    ["bad address-twice -", /2 pods have it: shop\/db .* on node-2, shop\/new .* on node-2/],
  ],
  [
    "pods that want nothing of us, or nothing any more",
    {
      pods: [
        ...usual.pods,
        aPod("done", { node: "node-1", ips: ["10.4.1.77"], status: { phase: "Succeeded" } }),
        aPod("going", { node: "node-1", ips: ["10.4.1.78"], meta: { deletionTimestamp: madeAt } }),
        aPod("young", { node: "node-1", status: { phase: "Pending" } }),
      ],
    },
  ],
  [
    "a full ledger",
    { ledgers: [aLedger({ used: Buffer.alloc(32, 0xff).toString("base64") })] },
    ["warn range-full -", /none of 256 blocks/],
  ],
  [
    "a ledger that is nearly full",
    { ledgers: [aLedger({ used: Buffer.alloc(32, 0xff).fill(0, 31).toString("base64") })] },
    ["warn range-nearly-full -", /8 of 256 blocks/],
  ],
  [
    "a ledger that cannot be",
    { ledgers: [aLedger({ used: "AA==" })] },
    ["bad ledger-unreadable -", /base64 of 32 bytes/],
  ],
  ["no Lease", { leases: [] }, ["bad no-controller -", /no controller has ever led/]],
  [
    "a Lease that was given back",
    { leases: [aLease({ holderIdentity: "" })] },
    ["bad no-controller -", /nobody holds it/],
  ],
  [
    "a Lease that nobody renews",
    { leases: [aLease({ renewTime: "2026-11-26T10:58:00.000000Z" })] },
    ["bad controller-expired -", /node-1 has not renewed it/],
  ],
  ["a Lease that may not be read", { leases: "forbidden" }, ["warn controller-unknown -", /forbidden/]],
  [
    "an old Lease beside the one that counts",
    { leases: [aLease({ renewTime: "2026-11-20T10:00:00.000000Z" }, "kube-system"), aLease()] },
  ],
];

for (const [title, part, ...found] of cases) {
  void test(`finds in ${title} ${found.length === 0 ? "nothing" : found.map(([what]) => what).join(", ")}`, () => {
    const findings = find(part);
    const shown = findings.map(({ state, code, node = "-" }) => `${state} ${code} ${node}`);
    assert.deepEqual(
      shown,
      found.map(([what]) => what),
      JSON.stringify(findings, null, 1),
    );
    for (const [index, [, says]] of found.entries()) assert.match(findings[index]?.says ?? "", says);
    for (const { cure } of findings) assert.notEqual(cure, "");
  });
}

void test("a cluster is well without bad findings, and its figures are those of its objects", () => {
  const well = summarize(viewCluster(aCluster()), nowMs);
  assert.equal(well.well, true);
  assert.deepEqual(well.nodes, { total: 2, withBlocks: 2 });
  assert.deepEqual(well.pods, { attached: 3, waiting: 0, onHostNetwork: 1 });
  assert.deepEqual(well.ranges, [
    { range: "10.4.0.0/16", blockPrefix: 24, blocks: 256, used: 2, free: 254, pending: 0 },
  ]);
  const { state, holder, lease } = well.controller;
  assert.deepEqual([state, holder, lease], ["leads", "node-1", "fairlead-system/fairlead-controller"]);
  assert.deepEqual(well.versions, [{ version: "0.1.0", agents: 2, controllers: 0 }]);
  const warned = summarize(viewCluster(aCluster({ leases: "forbidden" })), nowMs);
  assert.equal(warned.well, true);
  const ill = summarize(
    viewCluster(aCluster({ networks: [aNetwork(1)], pods: [aPod("young", { node: "node-1" })] })),
    nowMs,
  );
  assert.deepEqual([ill.well, ill.nodes.withBlocks, ill.pods.waiting], [false, 1, 1]);
});

const finding = (part: Partial<Finding>): Finding => ({
  state: "bad",
  code: "x",
  object: "Node a",
  says: "s",
  cure: "c",
  ...part,
});

void test("what two looks agree on stands, in its newer words", () => {
  const earlier = [finding({ node: "a", says: "1" }), finding({ node: "b" })];
  const later = [finding({ node: "a", says: "2" }), finding({ node: "c" }), finding({ node: "a", code: "y" })];
  assert.deepEqual(standing(earlier, later), [finding({ node: "a", says: "2" })]);
});

void test("bad ones come first, and a table has a bound", () => {
  const [first] = sortFindings([finding({ state: "warn", node: "a" }), finding({ node: "z" })]);
  assert.equal(first?.node, "z");
  const many = Array.from({ length: findingsShownMax + 3 }, (_, index) => finding({ node: `n${index}` }));
  const lines = findingsTable(many, nowMs).split("\n");
  assert.equal(lines.length, 1 + 2 * findingsShownMax + 1);
  assert.equal(lines.at(-1), "and 3 more; -o json has them all");
});

void test("words out of objects cannot move a terminal's cursor, and are bounded", () => {
  assert.equal(foreign("a\u001B[2Jb\nc"), String.raw`a\u{1b}[2Jb\u{a}c`);
  assert.equal(foreign("x".repeat(9999)).length, 500);
});

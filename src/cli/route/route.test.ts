// Ways as tables: every hop in order with the object behind it, what is missing on the way, and how names are read.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../../base/fault.ts";
import { type Ip, parseIp } from "../../net/ip.ts";
import { aCluster, aLedger, aNetwork, aNode, aPod, aProgram, someEndpoints } from "../../../test/cli-objects.ts";
import type { ClusterObjects } from "../cluster/read.ts";
import { viewCluster } from "../cluster/view.ts";
import { placeNamed } from "./name.ts";
import { reportRoute, type RouteReport, routeText } from "./report.ts";
import type { LocalAgent } from "./way.ts";

function route(from: string, to: string, part: Partial<ClusterObjects> = {}, local?: LocalAgent): RouteReport {
  const view = viewCluster(aCluster(part));
  const walk = { view, ...(local === undefined ? {} : { local }) };
  return reportRoute(placeNamed(from, view), placeNamed(to, view), walk);
}

/** The hops of one way: "where: what". */
function hops(report: RouteReport, family: 4 | 6 = 4, direction: "there" | "back" = "there"): string[] {
  const way = report.ways.find((one) => one.family === family && one.direction === direction);
  return (way?.hops ?? []).map(({ at, does }) => `${at}: ${does}`);
}

const outOfWeb = [
  "pod shop/web: 10.4.1.2 on eth0; default via 169.254.1.1",
  "node node-1: in by the pod's host link (fl…); only 10.4.1.2 may pass",
];

void test("two pods on two nodes: out of the pod, by the other node's block, into the pod; the same in IPv6 and back", () => {
  const report = route("shop/web", "shop/db");
  assert.equal(report.verdict, "way");
  assert.deepEqual(hops(report), [
    ...outOfWeb,
    "node node-1: 10.4.2.0/24 via 172.30.0.12",
    "node node-2: 10.4.2.2/32 out by the pod's host link (fl…)",
    "pod shop/db: 10.4.2.2 on eth0",
  ]);
  assert.deepEqual(hops(report, 6, "back"), [
    "pod shop/db: fd00:4:2::2 on eth0; default via fe80::1",
    "node node-2: in by the pod's host link (fl…); only fd00:4:2::2 may pass",
    "node node-2: fd00:4:1::/64 via fd00:30::11",
    "node node-1: fd00:4:1::2/128 out by the pod's host link (fl…)",
    "pod shop/web: fd00:4:1::2 on eth0",
  ]);
  assert.deepEqual(
    report.ways[0]?.hops.map(({ by }) => by),
    [
      "Pod shop/web; NodeEndpoints node-1",
      "agent of node-1: source guard",
      "NodeNetwork node-2: status.blocks, status.addresses; Node node-2: podCIDRs; BlockLedger v4-10-4-0-0-16",
      "agent of node-2; NodeEndpoints node-2",
      "Pod shop/db",
    ],
  );
});

void test("two pods on one node never leave it, and the way back is the same", () => {
  const report = route("shop/db", "shop/api");
  assert.equal(hops(report).length, 4);
  assert.ok(hops(report).every((hop) => !hop.includes(" via 172.")));
  assert.match(routeText(report), /IPv4 back 10\.4\.2\.3 -> 10\.4\.2\.2: the same hops the other way round/);
});

void test("nodes: to a pod of their own, of another node, to each other, and back from pods", () => {
  assert.deepEqual(hops(route("node/node-1", "shop/web")), [
    "node node-1: 10.4.1.2/32 out by the pod's host link (fl…)",
    "pod shop/web: 10.4.1.2 on eth0",
  ]);
  assert.deepEqual(hops(route("node-2", "web"))[0], "node node-2: 10.4.1.0/24 via 172.30.0.11");
  assert.deepEqual(hops(route("web", "node-2")), [
    ...outOfWeb,
    "node node-1: 172.30.0.12 by the node's own routes: its uplink's network, or its default route",
    "node node-2: 172.30.0.12 is its own address",
  ]);
  assert.deepEqual(hops(route("web", "node-1")), [...outOfWeb, "node node-1: 172.30.0.11 is its own address"]);
  assert.equal(hops(route("node-1", "node-2")).length, 2);
});

void test("a pod on the host's network is its node, and says so", () => {
  const report = route("shop/proxy", "db");
  assert.equal(hops(report)[0], "node node-1: 10.4.2.0/24 via 172.30.0.12");
  assert.match(report.notes.join(), /hostNetwork/);
});

void test("one place named twice", () => {
  const report = route("web", "10.4.1.2");
  assert.deepEqual(hops(report), ["pod shop/web: 10.4.1.2 is its own address: nothing leaves it"]);
  assert.equal(report.ways.length, 1);
});

void test("addresses stand for who has them, in their family only", () => {
  const report = route("10.4.1.2", "fd00:4:2::2");
  assert.match(report.problems[0]?.says ?? "", /has IPv4, pod shop\/db on node-2 has IPv6: no family is common/);
  assert.deepEqual(
    route("fd00:4:1::2", "db").ways.map(({ family, direction }) => `${family} ${direction}`),
    ["6 there", "6 back"],
  );
  assert.equal(route("172.30.0.11", "db").from.name, "node node-1");
});

void test("outside: by the node's default route there, by routers without objects back; nothing is promised", () => {
  const report = route("web", "1.1.1.1");
  assert.equal(report.verdict, "unknown");
  assert.match(
    hops(report)[2] ?? "",
    /^node node-1: 1\.1\.1\.1 by the node's own routes; from the node's address where masq/,
  );
  assert.deepEqual(hops(report, 4, "back"), [
    "outside: 1.1.1.1 is outside: its network has to bring 10.4.1.2 to node node-1",
    "node node-1: 10.4.1.2/32 out by the pod's host link (fl…)",
    "pod shop/web: 10.4.1.2 on eth0",
  ]);
  assert.throws(
    () => route("1.1.1.1", "8.8.8.8"),
    (error) => isFault(error, "unsupported-value"),
  );
});

void test("beside the agent of a node, links have their names, and an attachment that it has not is told", () => {
  const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
  const links = new Map([[ip("10.4.1.2"), "fl0123456789abc"]]);
  const report = route("web", "db", {}, { node: "node-1", links });
  assert.match(hops(report)[1] ?? "", /in by host link fl0123456789abc;/);
  assert.equal(report.ways.find(({ family }) => family === 4)?.verdict, "way");
  const v6 = report.ways.find(({ family }) => family === 6);
  assert.match(v6?.problems[0]?.says ?? "", /agent of this node \(node-1\) has no attachment with fd00:4:1::2/);
  assert.equal(report.verdict, "no-way");
});

const db = { pod: "db", addresses: ["10.4.2.2", "fd00:4:2::2"] };
const usual = aCluster();
const fault = (code: string, message: string): Partial<ClusterObjects> => ({
  networks: [aNetwork(1, { spec: { faults: [{ code, message, since: "2026-11-26T10:00:00Z" }] } }), aNetwork(2)],
});
const node2 = (part: Parameters<typeof aNetwork>[1]): Partial<ClusterObjects> => ({
  networks: [aNetwork(1), aNetwork(2, part)],
});
const dbAs = (part: Parameters<typeof aPod>[1], ...endpoints: (typeof db)[]): Partial<ClusterObjects> => ({
  pods: [...usual.pods.filter(({ metadata }) => metadata.name !== "db"), aPod("db", part)],
  endpoints: [...usual.endpoints.slice(0, 1), someEndpoints(2, endpoints)],
});

/** What is changed between web and db, and what is said to be in the way. */
const broken: [title: string, part: Partial<ClusterObjects>, says: RegExp, to?: string][] = [
  ["a pod on no node", dbAs({}), /pod shop\/db is on no node yet/],
  ["a pod that has ended", dbAs({ node: "node-2", status: { phase: "Failed" } }), /has ended \(Failed\)/],
  ["a pod whose ADD has not ended", dbAs({ node: "node-2" }), /not attached on node-2 yet$/],
  [
    "a pod that waits for its node's blocks",
    { ...dbAs({ node: "node-2" }), ...node2({ status: { blocks: [] } }) },
    /not attached on node-2 yet: NodeNetwork node-2 the node has no blocks/,
  ],
  [
    "a pod whose predecessor is still attached",
    dbAs({ node: "node-2" }, { ...db, uid: "old" } as typeof db),
    /the attachment on node-2 is of an earlier pod of this name \(uid old\)/,
  ],
  [
    "a pod that another plugin attached",
    dbAs({ node: "node-2", ips: ["10.4.2.2"] }),
    /has 10\.4\.2\.2, and NodeEndpoints node-2 knows no/,
  ],
  [
    "a pod whose node is gone",
    { nodes: [aNode(1)], ...dbAs({ node: "node-2" }) },
    /node node-2 of pod shop\/db is gone/,
  ],
  ["a pod attached elsewhere", { ...dbAs({ node: "node-1" }, db) }, /bound to node-1, and its attachment is on node-2/],
  [
    "an address that two have",
    { endpoints: [...usual.endpoints, someEndpoints(3, [{ pod: "twin", addresses: ["10.4.2.2"] }])] },
    /10\.4\.2\.2 is published for several: shop\/db on node-2, shop\/twin on node-3/,
  ],
  [
    "an address outside of its node's blocks",
    dbAs({ node: "node-2" }, { pod: "db", addresses: ["10.4.9.2"] }),
    /no block of node node-2 holds 10\.4\.9\.2 \(10\.4\.2\.0\/24 fd00:4:2::\/64\)/,
  ],
  [
    "a node whose answer is about another",
    node2({ status: { nodeUid: "old" } }),
    /no block of node node-2 holds .*earlier Node/,
  ],
  [
    "a node without an address of the family",
    node2({ status: { addresses: ["172.30.0.12"] } }),
    /node node-2 has no IPv6 address/,
  ],
  [
    "a block that two nodes have",
    {
      nodes: [...usual.nodes, aNode(3)],
      networks: [...usual.networks, aNetwork(3, { status: { blocks: [{ cidr: "10.4.2.0/23" }] } })],
    },
    /block 10\.4\.2\.0\/24 of node-2 overlaps 10\.4\.2\.0\/23 of node-3, which goes before it/,
  ],
  [
    "a node on another segment",
    fault(
      "other-segment",
      "node node-2 (172.30.0.12) is not on this node's segment (172.31.0.0/24), so its block 10.4.2.0/24 cannot be reached",
    ),
    /agent of node-1 reports other-segment: node node-2/,
  ],
  [
    "a first node without blocks",
    { networks: [aNetwork(1, { status: null }), aNetwork(2)], endpoints: usual.endpoints.slice(1) },
    /node node-1 makes no routes: .*has not answered/,
  ],
  [
    "a free address of a block",
    {},
    /no pod has 10\.4\.2\.77: in block 10\.4\.2\.0\/24 of node node-2 it is free, or rests/,
    "10.4.2.77",
  ],
  [
    "an address in no node's block",
    { ledgers: [aLedger()] },
    /no node has a block with 10\.4\.200\.1; it lies in 10\.4\.0\.0\/16/,
    "10.4.200.1",
  ],
  [
    "an address of a pod that is gone",
    { pods: usual.pods.filter(({ metadata }) => metadata.name !== "db") },
    /10\.4\.2\.2 is held by the attachment of shop\/db on node-2, and that pod is gone/,
    "10.4.2.2",
  ],
  [
    "a node without any address",
    { nodes: [aNode(1), { ...aNode(2), status: {} }], networks: [aNetwork(1)] },
    /node node-2 has no address/,
    "node-2",
  ],
];

for (const [title, part, says, to = "shop/db"] of broken) {
  void test(`no way to ${title}`, () => {
    const report = route("shop/web", to, part);
    const problems = [...report.problems, ...report.ways.flatMap((way) => way.problems)];
    const text = routeText(report);
    assert.equal(report.verdict, "no-way", text);
    const found = problems.find((problem) => says.test(problem.says));
    assert.ok(found !== undefined, text);
    assert.ok(text.includes(`BAD: ${found.says}\n       cure: ${found.cure}`), text);
    assert.match(text, /there is NO way$/);
  });
}

void test("of blocks that overlap the agents take the wider, of equals that of the first name, and their own before all", () => {
  const overlapping = (n: number, cidr: string, from = "web", to = "db"): string => {
    const nodes = [...usual.nodes.filter(({ metadata }) => metadata.name !== `node-${n}`), aNode(n)];
    const networks = [
      ...usual.networks.filter(({ metadata }) => metadata.name !== `node-${n}`),
      aNetwork(n, { status: { blocks: [{ cidr }] } }),
    ];
    return route(from, to, { nodes, networks }).ways[0]?.verdict ?? "none";
  };
  assert.equal(overlapping(3, "10.4.2.0/25"), "way");
  assert.equal(overlapping(3, "10.4.2.0/24"), "way");
  assert.equal(overlapping(0, "10.4.2.0/24"), "no-way");
  assert.equal(overlapping(3, "10.4.2.0/25", "node-3"), "no-way");
});

void test("an agent that still has its blocks from before goes on, and a note tells it", () => {
  const report = route("web", "db", { networks: [aNetwork(1, { status: null }), aNetwork(2)] });
  assert.deepEqual(report.ways.map(({ direction, verdict }) => `${direction} ${verdict}`).slice(0, 2), [
    "there way",
    "back no-way",
  ]);
  assert.match(
    report.notes.join(),
    /NodeNetwork node-1 has no status.*; the agent of node-1 goes by what it knew before/,
  );
  assert.equal(hops(report, 4, "back")[2], "node node-2: no route to 10.4.1.2");
});

void test("a fault about another block is in nobody's way", () => {
  const message =
    "node node-3 (10.9.0.1) is not on this node's segment (172.30.0.0/24), so its block 10.4.20.0/24 cannot be reached";
  assert.equal(route("web", "db", fault("other-segment", message)).verdict, "way");
});

void test("what may pass all the same is a note: a node that is not ready, an agent that does not run, another address told", () => {
  const report = route("web", "db", {
    nodes: [aNode(1), aNode(2, { conditions: [{ type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" }] })],
    programs: [aProgram("agent", "node-2"), aProgram("agent", "node-1", { phase: "Pending", containerStatuses: [] })],
    pods: [
      ...usual.pods.filter(({ metadata }) => metadata.name !== "db"),
      aPod("db", { node: "node-2", ips: ["10.4.2.9"] }),
    ],
  });
  assert.equal(report.verdict, "way");
  assert.deepEqual(report.notes, [
    "the agent of node-1 does not run: its routes are as it left them",
    "the status of pod shop/db tells 10.4.2.9, its attachment has 10.4.2.2 fd00:4:2::2; the attachment counts",
    "node node-2 is not Ready: NodeStatusUnknown",
  ]);
});

void test("a family that one place lacks is a note", () => {
  const report = route("web", "db", dbAs({ node: "node-2" }, { pod: "db", addresses: ["10.4.2.2"] }));
  assert.deepEqual([report.verdict, report.notes], ["way", ["IPv6: pod shop/db on node-2 has no such address"]]);
});

const twins = aCluster({
  pods: [...usual.pods, aPod("web", { namespace: "blog" }), aPod("node-1"), aPod("web-1", { namespace: "blog" })],
});

const names: [text: string, title: string, namespace?: string][] = [
  ["shop/web", "pod shop/web on node-1"],
  ["pod/shop/web", "pod shop/web on node-1"],
  ["pods/db", "pod shop/db on node-2"],
  ["po/web", "pod shop/web on node-1", "shop"],
  ["web", "pod blog/web", "blog"],
  ["node/node-1", "node node-1"],
  ["no/node-2", "node node-2"],
  ["node-2", "node node-2"],
  ["fd00:4:1:0:0:0:0:2", "pod shop/web on node-1"],
  ["192.0.2.1", "address 192.0.2.1"],
];

for (const [text, title, namespace] of names) {
  void test(`reads ${text} as ${title}`, () =>
    assert.equal(placeNamed(text, viewCluster(twins), namespace).title, title));
}

const refused: [text: string, code: "not-found" | "unsupported-value", words: RegExp, namespace?: string][] = [
  ["web", "unsupported-value", /2 namespaces have a pod "web"; write one of blog\/web, shop\/web$/],
  ["node-1", "unsupported-value", /"node-1" is a node and a pod; write one of node\/node-1, pod\/shop\/node-1$/],
  ["we", "not-found", /no pod or node "we"; names that begin so: blog\/web, blog\/web-1, shop\/web$/],
  ["nosuch", "not-found", /no pod or node "nosuch"; kubectl get pods -A lists all pods$/],
  ["db.example.com", "not-found", /no pod or node "db\.example\.com"; names are not resolved; give an address$/],
  ["blog/db", "not-found", /no pod "db" in namespace "blog"; there is shop\/db$/],
  ["db", "not-found", /no pod "db" in namespace "nope"; there is shop\/db$/, "nope"],
  ["nope/x", "not-found", /in namespace "nope"; that namespace has no pods; is its name right\?$/],
  ["node/nod", "not-found", /no node "nod"; there are node-1, node-2$/],
  [
    "svc/api",
    "unsupported-value",
    /service "api" is no place: kube-proxy.*get endpointslices -l kubernetes\.io\/service-name=api/,
  ],
  ["deploy/web", "unsupported-value", /its pods may be blog\/web-1$/],
  ["sts/nope", "unsupported-value", /"sts\/nope" is no place; name one of its pods$/],
  ["10.4.0.0/16", "unsupported-value", /is a network; name one address of it/],
  ["a/b/c", "unsupported-value", /names nothing; write NAMESPACE\/POD/],
  ["pod/a/b/c", "unsupported-value", /names nothing/],
  ["shop/", "unsupported-value", /names nothing/],
  ["", "unsupported-value", /names nothing/],
];

for (const [text, code, words, namespace] of refused) {
  void test(`refuses ${text}`, () =>
    assert.throws(
      () => placeNamed(text, viewCluster(twins), namespace),
      (error) => isFault(error, code) && words.test(error.message),
    ));
}

const refusedOfFiles: [text: string, words: RegExp][] = [
  ["nosuch", /no pod or node "nosuch"; the files have blog\/web, blog\/web-1, shop\/api,/],
  ["deployment/db", /^"deployment\/db" is shop\/db in the files; write that$/],
  ["sts/nope", /"sts\/nope" is no place; name one of its pods$/],
  ["svc/api", /service "api" is no place; ask for one of its pods$/],
];

for (const [text, words] of refusedOfFiles) {
  void test(`of files, refuses ${text} and names what files can tell`, () =>
    assert.throws(
      () => placeNamed(text, viewCluster({ ...twins, fromFiles: true })),
      (error) => isFault(error) && words.test(error.message),
    ));
}

// Answers about a cluster's objects: which addresses are judged, on which node, by which object, and what is not judged.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../base/assert.ts";
import { aCluster, aPod, nowMs, someEndpoints } from "../../../test/cli-objects.ts";
import { parseIp } from "../../net/ip.ts";
import type { KubeObject } from "../../kube/contract.ts";
import { namespaces, networkPolicies } from "../../kube/policy-objects.ts";
import { breakGlassAnnotation } from "../../policy/break-glass.ts";
import type { PolicyObjects } from "../../policy/model.ts";
import type { ClusterObjects } from "../cluster/read.ts";
import { placeNamed } from "../route/name.ts";
import { refuseService } from "../route/services.ts";
import { createAnswers, type WhyAnswer } from "./answer.ts";
import { readTraffic } from "./traffic.ts";

const named = (port: number): object => ({ spec: { containers: [{ ports: [{ name: "sql", containerPort: port }] }] } });
const db = ["10.4.2.2", "fd00:4:2::2"];

function objects(
  specs: Record<string, object>,
  part: Partial<ClusterObjects> = {},
): Parameters<typeof createAnswers>[0] {
  const policy: PolicyObjects = {
    namespaces: [namespaces.parse({ metadata: { name: "shop", labels: { "kubernetes.io/metadata.name": "shop" } } })],
    serviceAccounts: [],
    networkPolicies: Object.entries(specs).map(([name, spec]) =>
      networkPolicies.parse({ metadata: { name, namespace: "shop" }, spec }),
    ),
    groups: [],
    bindings: [],
    groupPolicies: [],
  };
  return { cluster: aCluster(part), policy };
}

function ask(
  given: Parameters<typeof createAnswers>[0],
  from: string,
  to: string,
  traffic = "icmp",
  atMs = nowMs,
): WhyAnswer[] {
  const answers = createAnswers(given, { nowMs: atMs });
  const [left, right] = [placeNamed(from, answers.view), placeNamed(to, answers.view)];
  return answers.why(left, right, readTraffic(traffic, answers.portsOf(right)));
}

const denyAll = { podSelector: {}, policyTypes: ["Ingress"] };

void test("one answer for each family, by the addresses of the attachments, with the object and node that decide", () => {
  const answers = ask(objects({ "deny-all": denyAll }), "shop/web", "shop/db", "5432");
  assert.deepEqual(
    answers.map(({ family, source, destination, protocol, port, passes }) => [
      family,
      source,
      destination,
      protocol,
      port,
      passes,
    ]),
    [
      [4, "10.4.1.2", "10.4.2.2", "tcp", 5432, false],
      [6, "fd00:4:1::2", "fd00:4:2::2", "tcp", 5432, false],
    ],
  );
  assert.deepEqual(
    answers[0]?.judgements.map(({ judgement, passes, outcome, object, pod, node }) => [
      judgement,
      passes,
      outcome,
      object,
      pod,
      node,
    ]),
    [
      ["egress NetworkPolicy", true, "not judged", undefined, "shop/web", "node-1"],
      ["egress groups", true, "not judged", undefined, "shop/web", "node-1"],
      ["ingress NetworkPolicy", false, "denied", "NetworkPolicy shop/deny-all", "shop/db", "node-2"],
      ["ingress groups", true, "not judged", undefined, "shop/db", "node-2"],
    ],
  );
});

void test("the rule that allows it is named, with its object", () => {
  const allow = { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }, { ports: [{ port: 5432 }] }] };
  const [answer] = ask(objects({ allow, "deny-all": denyAll }), "shop/web", "shop/db", "5432/tcp");
  const { passes, object, rule } = answer?.judgements[2] ?? {};
  assert.deepEqual(
    [passes, object, rule],
    [true, "NetworkPolicy shop/allow", "NetworkPolicy shop/allow ingress rule 2"],
  );
});

void test("while break-glass of a namespace or of the pod's node lasts, traffic passes by it, and the answer says so", () => {
  const annotations = { [breakGlassAnnotation]: "2026-11-26T10:30:00Z/2026-11-26T11:30:00Z" };
  const broken = (title: "Namespace shop" | "Node node-2" | "Node node-1"): ReturnType<typeof objects> => {
    const { cluster, policy } = objects({ "deny-all": denyAll });
    const on = <T extends KubeObject>(kind: string, object: T): T =>
      title === `${kind} ${object.metadata.name}`
        ? { ...object, metadata: { ...object.metadata, annotations } }
        : object;
    return {
      cluster: { ...cluster, nodes: cluster.nodes.map((node) => on("Node", node)) },
      policy: { ...policy, namespaces: policy.namespaces.map((one) => on("Namespace", one)) },
    };
  };
  const over = nowMs + 1_800_000;
  for (const title of ["Namespace shop", "Node node-2"] as const) {
    const [answer] = ask(broken(title), "shop/web", "shop/db", "5432", nowMs);
    assert.equal(answer?.passes, true, title);
    assert.ok(
      answer.judgements[2]?.says.endsWith(`it passes by break-glass of ${title} until 2026-11-26T11:30:00Z`),
      title,
    );
    assert.equal(ask(broken(title), "shop/web", "shop/db", "5432", over)[0]?.passes, false, `${title} is over`);
  }
  assert.equal(ask(broken("Node node-1"), "shop/web", "shop/db", "5432", nowMs)[0]?.passes, false, "the sender's node");
});

void test("a node always reaches its own pods, and another one as any address does", () => {
  const denied = objects({ "deny-all": denyAll });
  const own = ask(denied, "node/node-2", "shop/db");
  assert.deepEqual(
    own.map(({ passes, always, judgements }) => [passes, always, judgements]),
    [
      [true, "a node's own traffic always reaches its pods", []],
      [true, "a node's own traffic always reaches its pods", []],
    ],
  );
  assert.deepEqual(
    ask(denied, "node/node-1", "shop/db").map(({ passes }) => passes),
    [false, false],
  );
});

void test("a port's name is the target's own number, in the traffic and in a rule", () => {
  const pods = [
    aPod("web", { node: "node-1" }),
    aPod("db", { node: "node-2", ...named(5432) }),
    aPod("api", { node: "node-2", ...named(5433) }),
  ];
  const given = objects({ sql: { podSelector: {}, ingress: [{ ports: [{ port: "sql" }] }] } }, { pods });
  assert.deepEqual(
    ask(given, "shop/web", "shop/db", "sql").map(({ port, passes }) => [port, passes]),
    [
      [5432, true],
      [5432, true],
    ],
  );
  assert.equal(ask(given, "shop/web", "shop/api", "5432")[0]?.passes, false);
  assert.throws(() => ask(given, "shop/web", "shop/db", "http"), /no port "http"; it has sql\/tcp$/);
  assert.throws(() => ask(given, "shop/web", "shop/db", "sql/udp"), /no port "sql\/udp"/);
});

void test("an attachment elsewhere than where its pod is bound makes it a member of nothing", () => {
  const allow = { podSelector: { matchLabels: { app: "db" } }, ingress: [{ from: [{ podSelector: {} }] }] };
  const target = aPod("db", { node: "node-2", meta: { labels: { app: "db" } } });
  const pods = [aPod("web", { node: "node-1" }), target];
  const there = someEndpoints(2, [{ pod: "db", addresses: db }]);
  const web = { pod: "web", addresses: ["10.4.1.2"] };
  const right = objects({ allow }, { pods, endpoints: [someEndpoints(1, [web]), there] });
  assert.equal(ask(right, "10.4.1.2", "shop/db")[0]?.passes, true);
  const wrong = objects({ allow }, { pods, endpoints: [someEndpoints(2, [web, { pod: "db", addresses: db }])] });
  assert.equal(ask(wrong, "10.4.1.2", "shop/db")[0]?.passes, false);
});

void test("traffic that cannot be read is refused", () => {
  for (const text of ["0", "65536"]) assert.throws(() => readTraffic(text, []), /: ports are 1 to 65535$/, text);
  for (const text of ["80/gre", "80/tcp/udp", "/tcp", "http/", "tcp:5432", "ICMP", "5432-5440", "tcp", "icmp/8", ""])
    assert.throws(
      () => readTraffic(text, []),
      /^Fault: "[^"]*" is no traffic; write PORT, PORT\/tcp, .* or icmp/,
      text,
    );
});

void test("the address of a service is refused, with the way to its pods; that of a pod, and one of outside, is not", () => {
  const { view } = createAnswers(objects({}));
  const address = present(parseIp("10.96.0.7"), "address");
  const names = new Map([[address, { name: "db", namespace: "shop" }]]);
  assert.throws(
    () => refuseService(placeNamed("10.96.0.7", view), names),
    /service "db" is no place: kube-proxy.*-n shop/,
  );
  for (const other of ["shop/db", "10.4.2.2", "10.96.0.8", "node-1"]) refuseService(placeNamed(other, view), names);
});

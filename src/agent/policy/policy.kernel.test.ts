// Policy on a node from end to end: objects of the API server in, real packets out; on new pods, on running ones, and on open connections.

import assert from "node:assert/strict";
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { type ClusterAgent, ownNode } from "../../../test/cluster-agent.ts";
import {
  addPod,
  both,
  denyAll,
  echoClient,
  echoPort as port,
  echoServer,
  ingressFrom,
  inPod,
  neither,
  noConnection,
  pings,
  reached,
  servingAgent,
  wasReset,
} from "../../../test/policy-node.ts";
import { uplink } from "../../../test/agent.ts";
import { until } from "../../../test/until.ts";
import { pods } from "../../kube/core-objects.ts";
import { nodeEndpoints } from "../../kube/objects.ts";
import { statusSocket } from "../status.ts";
import type { PolicyAnswer } from "./counting.ts";
import { groupsMark } from "../../policy/mark.ts";
import { networkPolicies, securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";

async function told({ config }: ClusterAgent, path: "/metrics" | "/policy"): Promise<string> {
  const call = get({ socketPath: statusSocket(config.paths.socket), path });
  const [response] = (await once(call, "response")) as [IncomingMessage];
  return text(response);
}

/** How many objects of a kind the agent has heard of. */
async function heardOf(agent: ClusterAgent, kind: string): Promise<number> {
  const found = new RegExp(`^fairlead_kube_objects\\{kind="${kind}"\\} (\\d+)$`, "m").exec(
    await told(agent, "/metrics"),
  );
  return Number(found?.[1]);
}

void test("a NetworkPolicy isolates running pods and new ones; another lets in whom it selects; without them all is open", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  assert.deepEqual(reached(web, db), both);
  await kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("the running pod is closed", () => !pings(web, db, 0));
  assert.deepEqual(reached(web, db), neither);
  assert.deepEqual(reached(db, web), both, "answers pass");
  const late = await addPod(t, agent, "late", { app: "db" });
  assert.deepEqual(reached(web, late), neither, "a new pod is closed when ADD has answered");
  await kube.create(networkPolicies, ingressFrom({ app: "web" }));
  await until("whom it selects is let in", () => pings(web, db, 0) && pings(web, late, 1));
  assert.deepEqual(reached(late, db), neither);
  await kube.remove(networkPolicies, { namespace: "default", name: "closed" });
  await kube.remove(networkPolicies, { namespace: "default", name: "open" });
  await until("all is open", () => pings(late, db, 0));
  assert.deepEqual(reached(late, db), both);
});

void test("the first pod of its class is judged when ADD has answered, by what was heard a moment before", async (t) => {
  const agent = await servingAgent(t);
  const web = await addPod(t, agent, "web", { app: "web" });
  const policy = denyAll({ app: "db" });
  for (const [index, app] of ["one", "two", "three"].entries()) {
    await agent.kube.create(networkPolicies, {
      ...policy,
      metadata: { ...policy.metadata, name: app },
      spec: { ...policy.spec, podSelector: { matchLabels: { app } } },
    });
    await until("it was heard of", async () => (await heardOf(agent, "NetworkPolicy")) === index + 1);
    const alone = await addPod(t, agent, app, { app });
    assert.deepEqual(reached(web, alone), neither, app);
  }
});

void test("a label that changes on a running pod changes who may talk to it, and what it may", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await kube.create(networkPolicies, ingressFrom({ app: "web" }));
  await until("policy is there", () => !pings(db, db, 0) || pings(web, db, 0));
  const label = (name: string, app: string): Promise<unknown> =>
    kube.patch(pods, { namespace: "default", name }, { type: "merge", body: { metadata: { labels: { app } } } });
  await label("web", "other");
  await until("it is no member any more", () => !pings(web, db, 0));
  await label("web", "web");
  await until("it is a member again", () => pings(web, db, 0));
  await label("web", "other");
  await label("db", "free");
  await until("the target is not selected any more", () => pings(web, db, 0) && pings(web, db, 1));
});

void test("security groups: members reach each other as rules say, an open connection is reset when its rule goes", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  const other = await addPod(t, agent, "other", { app: "other" });
  const group = (name: string, ingress: object[]): ReturnType<typeof securityGroups.parse> =>
    securityGroups.parse({ metadata: { name }, spec: { bindableFrom: {}, ingress } });
  const rule = { protocol: "tcp", ports: [{ port }], from: [{ securityGroup: "web" }] };
  await kube.create(securityGroups, group("web", []));
  await kube.create(securityGroups, group("db", [rule]));
  for (const app of ["web", "db"]) {
    const spec = { podSelector: { matchLabels: { app } }, groups: [app] };
    await kube.create(securityGroupBindings, { metadata: { namespace: "default", name: app }, spec });
  }
  await until("echo requests are not among the rules", () => !pings(web, db, 0) && !pings(other, db, 1));
  assert.deepEqual(reached(web, other), both, "who is bound to nothing is open");

  const server = inPod(t, db, echoServer);
  await once(server.stdout, "data");
  const stranger = inPod(t, other, echoClient(db));
  const [refused] = (await once(stranger, "exit")) as [number | null];
  assert.equal(refused, noConnection, "who is no member of the group gets no connection");
  const client = inPod(t, web, echoClient(db));
  let heard = 0;
  client.stdout.on("data", (chunk: Buffer) => (heard += chunk.length));
  await until("the connection is open", () => heard > 10);
  const exited = once(client, "exit") as Promise<[number | null]>;
  await kube.patch(securityGroups, { name: "db" }, { type: "merge", body: { spec: { ingress: [] } } });
  const startedMs = performance.now();
  const [ended] = await exited;
  const tookMs = Math.round(performance.now() - startedMs);
  t.diagnostic(`reset after ${tookMs} ms`);
  assert.equal(ended, wasReset);
  assert.ok(tookMs < 10_000, `reset after ${tookMs} ms`);
});

void test("what is denied, and which rules let begin, is told by metrics and by groups; the cluster hears by which groups the node judges", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  const markTold = async (): Promise<string | undefined> =>
    (await kube.get(nodeEndpoints, { name: ownNode })).policy?.groups;
  const markNow = async (): Promise<string> => groupsMark((await kube.list(securityGroups)).items);
  const ping = (type: number): object => ({
    protocol: type === 8 ? "icmp" : "icmpv6",
    icmp: { type },
    from: [{ namespaceSelector: {} }],
  });
  const unused = { protocol: "tcp", ports: [{ port: 22 }], from: [{ cidr: "192.0.2.0/24" }] };
  await kube.create(
    securityGroups,
    securityGroups.parse({ metadata: { name: "db" }, spec: { bindableFrom: {}, ingress: [ping(8), unused] } }),
  );
  await until("the agent has heard of the group", async () => (await heardOf(agent, "SecurityGroup")) === 1);
  await until(
    "the cluster has heard of the node's pods",
    async () => (await kube.list(nodeEndpoints)).items.length > 0,
  );
  assert.equal(await markTold(), undefined, "none of its pods is in a group");
  const spec = { podSelector: { matchLabels: { app: "db" } }, groups: ["db"] };
  await kube.create(securityGroupBindings, { metadata: { namespace: "default", name: "db" }, spec });
  await until("the pod is judged", () => !pings(web, db, 1));
  await until("the cluster has heard of it", async () => (await markTold()) === (await markNow()));

  const counted = async (): Promise<PolicyAnswer> => JSON.parse(await told(agent, "/policy")) as PolicyAnswer;
  const deniedIn = ({ layers }: PolicyAnswer): number =>
    layers.find(({ objects, direction }) => objects.join() === "SecurityGroup db" && direction === "ingress")
      ?.packets ?? 0;
  const before = await counted();
  assert.deepEqual(reached(web, db), [true, false]);
  await until("the echo request of IPv6 is counted", async () => deniedIn(await counted()) > deniedIn(before));
  const after = await counted();
  const metric =
    /^fairlead_policy_denied_packets_total\{kind="groups",direction="ingress",objects="SecurityGroup db"\} (\d+)$/m;
  assert.equal(Number(metric.exec(await told(agent, "/metrics"))?.[1]), deniedIn(after));
  const hits = (of: PolicyAnswer): number[] => of.rules.map(({ min, max }) => (min === max ? max : -1));
  assert.ok((hits(after)[0] ?? 0) > (hits(before)[0] ?? 0), JSON.stringify(after.rules));
  assert.deepEqual(
    [after.rules.map(({ rule }) => rule), hits(after)[1]],
    [["SecurityGroup db ingress rule 1", "SecurityGroup db ingress rule 2"], 0],
  );

  await kube.patch(
    securityGroups,
    { name: "db" },
    { type: "merge", body: { spec: { ingress: [ping(128), ping(8)] } } },
  );
  await until("the edit holds", () => pings(web, db, 1));
  await until("the cluster has heard of it, too", async () => (await markTold()) === (await markNow()));
  const edited = await counted();
  assert.ok(deniedIn(edited) >= deniedIn(after), "an edit takes back nothing that was counted");
  assert.ok(
    (hits(edited)[1] ?? 0) >= (hits(after)[0] ?? 0),
    "the rule is another one by number and the same by what it says",
  );
});

void test("egress of groups judges what a pod sends to its own node where the agent is told so; the node reaches its pods always", async (t) => {
  const agent = await servingAgent(t, { policy: { groupsJudgeOwnNode: true } });
  const { kube, node } = agent;
  const closed = await addPod(t, agent, "closed", { app: "closed" });
  const open = await addPod(t, agent, "open", { app: "open" });
  const nodeEnd = { ...open, addresses: Object.values(uplink.addresses) };
  assert.deepEqual(reached(closed, nodeEnd), both);
  await kube.create(
    securityGroups,
    securityGroups.parse({ metadata: { name: "silent" }, spec: { bindableFrom: {}, egress: [] } }),
  );
  await kube.create(securityGroupBindings, {
    metadata: { namespace: "default", name: "silent" },
    spec: { podSelector: { matchLabels: { app: "closed" } }, groups: ["silent"] },
  });
  await until("it may send its node nothing", () => !pings(closed, nodeEnd, 0) && !pings(closed, nodeEnd, 1));
  assert.deepEqual(reached(open, nodeEnd), both);
  for (const address of closed.addresses) node.run("ping", "-c", "1", "-W", "5", address);
});

// The flow log from end to end: an agent's pods are denied by objects of the API server, and the tool says who, by which object and why.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  addPod,
  denyAll,
  ingressFrom,
  neither,
  pings,
  reached,
  servingAgent,
  type TestPod,
} from "../../../test/policy-node.ts";
import { ip } from "../../../test/kernel-stage.ts";
import { until } from "../../../test/until.ts";
import { socketDoor } from "../../cli/agents/door.ts";
import { showFlows } from "../../cli/flows.ts";
import type { ToldFlow } from "../../cli/flows/report.ts";
import { events } from "../../kube/core-objects.ts";
import { nodeEndpoints, nodeNetworks } from "../../kube/objects.ts";
import { networkPolicies, securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";
import { statusSocket } from "../status.ts";
import { podBurst, podPerSecond } from "./ring.ts";
import type { ClusterAgent } from "../../../test/cluster-agent.ts";

/** What the tool prints, a line each. */
async function flows(
  { config }: ClusterAgent,
  options: Partial<Parameters<typeof showFlows>[0]> = {},
): Promise<string[]> {
  const lines: string[] = [];
  await showFlows({
    doors: [socketDoor(statusSocket(config.paths.socket))],
    denied: true,
    follow: false,
    output: "json",
    signal: new AbortController().signal,
    print: (text) => lines.push(...text.split("\n")),
    warn: () => undefined,
    ...options,
  });
  return lines;
}

const told = async (agent: ClusterAgent, options = {}): Promise<ToldFlow[]> =>
  (await flows(agent, options)).map((line): ToldFlow => JSON.parse(line));

void test("what a NetworkPolicy denies is told with both pods, the object and the reason, by either family", async (t) => {
  const agent = await servingAgent(t);
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  assert.deepEqual(await flows(agent, { output: "table" }), [
    "nothing was denied on node node-1 since its agent's start",
  ]);
  await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("the running pod is closed", () => !pings(web, db, 0));
  assert.deepEqual(reached(web, db), neither);
  await until("both families are told", async () => {
    const addresses = new Set((await told(agent)).map(({ destination }) => destination.address));
    return db.addresses.every((address) => addresses.has(address));
  });
  for (const one of await told(agent)) {
    const family = one.destination.address.includes(":") ? 1 : 0;
    assert.deepEqual(
      { ...one, number: 0, atMs: 0 },
      {
        node: "node-1",
        number: 0,
        atMs: 0,
        outcome: "denied",
        source: { address: web.addresses[family], pod: "default/web" },
        destination: { address: db.addresses[family], pod: "default/db" },
        protocol: family === 0 ? "icmp" : "icmpv6",
        icmp: { type: family === 0 ? 8 : 128, code: 0 },
        direction: "ingress",
        layer: "NetworkPolicy",
        pod: "default/db",
        objects: ["NetworkPolicy default/closed"],
        rules: [],
        reason: `no rule allows ${family === 0 ? "icmp type 8" : "icmpv6 type 128"} code 0 from pod default/web (${web.addresses[family]})`,
      },
    );
  }
  assert.equal((await told(agent, { pod: "default/other" })).length, 0);
  assert.ok((await told(agent, { pod: "default/web" })).length > 0);
  await assert.rejects(flows(agent, { node: "node-2" }), /is the agent of node node-1, not of node-2/);
  const [head, line] = await flows(agent, { output: "table" });
  assert.match(head ?? "", /^TIME +OUTCOME +FROM +TO +TRAFFIC +JUDGEMENT +BY +WHY$/);
  assert.match(
    line ?? "",
    / DENIED +default\/web +default\/db +icmp type 8 code 0 +ingress NetworkPolicy +NetworkPolicy default\/closed +no rule allows/,
  );
});

/** Sends one datagram, or tries to connect for a moment. */
function send(from: TestPod, kind: "tcp" | "udp", to: TestPod, family: 0 | 1, port: number): void {
  const path = `/dev/${kind}/${to.addresses[family]}/${port}`;
  from.netns.run("bash", "-c", `timeout 0.3 bash -c 'echo hello >${path}' 2>/dev/null || true`);
}

const brief = ({ outcome, source, destination, protocol, port, direction, layer, objects }: ToldFlow): string =>
  [outcome, source.pod, destination.pod, protocol, port, direction, layer, objects.join(" + ")].join(" ");

void test("groups deny TCP and UDP of both families by name; one on probation only tells, and what passes is no denial", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  const other = await addPod(t, agent, "other", { app: "other" });
  const groups = {
    web: { bindableFrom: {}, mode: "audit", ingress: [] },
    db: { bindableFrom: {}, ingress: [{ protocol: "udp", from: [{ securityGroup: "web" }] }] },
  };
  for (const [name, spec] of Object.entries(groups)) {
    await kube.create(securityGroups, securityGroups.parse({ metadata: { name }, spec }));
    const bound = { podSelector: { matchLabels: { app: name } }, groups: [name] };
    await kube.create(securityGroupBindings, { metadata: { namespace: "default", name }, spec: bound });
  }
  await until("policy is there", () => !pings(other, db, 0));
  const wanted = [
    "denied default/web default/db tcp 5432 ingress groups SecurityGroup db",
    "denied default/other default/db udp 53 ingress groups SecurityGroup db",
    "audited default/other default/web udp 53 ingress groups SecurityGroup web",
  ];
  const bothFamilies = (records: readonly ToldFlow[], text: string): boolean =>
    [4, 6].every((family) =>
      records.some((one) => brief(one) === text && one.source.address.includes(":") === (family === 6)),
    );
  const sendAll = (): void => {
    for (const family of [0, 1] as const) {
      send(web, "tcp", db, family, 5432);
      send(other, "udp", db, family, 53);
      send(other, "udp", web, family, 53);
      send(web, "udp", db, family, 53);
    }
  };
  // On a busy machine the time of an attempt can be over before it has sent anything.
  await until("all were told", async () => {
    sendAll();
    const records = await told(agent);
    return wanted.every((text) => bothFamilies(records, text));
  });
  const rest = (await told(agent)).map(brief).filter((text) => !wanted.includes(text) && !text.includes("icmp"));
  assert.deepEqual(rest, []);
});

/** As fast as one process can. */
const flood = (address: string, count: number): string => `
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(${count}):
    try: sock.sendto(b"x", ("${address}", 9))
    except OSError: pass`;

void test("a flood stays within what one pod may tell, is counted and makes one event; the next agent listens again", async (t) => {
  const agent = await servingAgent(t);
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("the running pod is closed", () => !pings(web, db, 0));
  const before = process.cpuUsage();
  const startedMs = performance.now();
  web.netns.run("python3", "-c", flood(db.addresses[0] ?? "", 200_000));
  const warnings: string[] = [];
  await until("the agent says what it held back", async () => {
    warnings.length = 0;
    await flows(agent, { output: "table", warn: (text) => warnings.push(text) });
    return warnings.length > 0;
  });
  const tookMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(before);
  const records = await told(agent);
  t.diagnostic(
    `${records.length} told in ${Math.round(tookMs)} ms, ${(user + system) / 1000} ms of processor: ${warnings.join()}`,
  );
  assert.ok(records.length <= podBurst + podPerSecond * (1 + tookMs / 1000), `${records.length} told`);
  assert.ok(records.every(({ source }) => source.pod === "default/web"));
  assert.match(warnings.join(), /^beyond what one pod may tell, since the agent's start: default\/web \d+$/);
  assert.ok(user + system < 0.5 * tookMs * 1000, `${user + system} us of processor in ${tookMs} ms`);
  await until("an event is on the pod", async () => (await deniedEvents(agent)).length > 0);
  assert.deepEqual(await deniedEvents(agent), ["db"]);

  await agent.stop();
  const { serving } = agent.start();
  await serving;
  await until("the next agent tells what is denied", async () => {
    pings(web, db, 0);
    const records = await told(agent);
    // What it hears before the cluster has told it of its pods has no names.
    return records[0]?.number === 1 && records.at(-1)?.destination.pod === "default/db";
  });
});

async function deniedEvents({ kube }: ClusterAgent): Promise<string[]> {
  const { items } = await kube.list(events);
  return items
    .filter(({ reason }) => reason === "TrafficDenied")
    .map(({ involvedObject }) => involvedObject.name ?? "");
}

void test("a pod of another node has the name that its node has published", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const [name, pod] = ["node-2", "10.4.2.7"];
  const { uid: nodeUid = "" } = (await agent.makeNode(name)).metadata;
  const spec = { nodeUid, agentVersion: "test" };
  await kube.create(nodeNetworks, { metadata: { name }, spec });
  await agent.giveBlocks(["10.4.2.0/24"], { name, addresses: ["172.30.0.12"] });
  const endpoint = { namespace: "shop", name: "far", uid: "u", interface: "eth0", addresses: [ip(pod)] };
  await kube.create(nodeEndpoints, { metadata: { name }, nodeUid, endpoints: [endpoint] });
  const web = await addPod(t, agent, "web", { app: "web" });
  const closed = { podSelector: {}, policyTypes: ["Egress"] };
  await kube.create(
    networkPolicies,
    networkPolicies.parse({ metadata: { namespace: "default", name: "no-egress" }, spec: closed }),
  );
  const other = { ...web, addresses: [pod] };
  await until("it is told with its name", async () => {
    send(web, "udp", other, 0, 53);
    return (await told(agent)).some(
      ({ source, destination, objects }) =>
        source.pod === "default/web" &&
        destination.pod === "shop/far" &&
        objects[0] === "NetworkPolicy default/no-egress",
    );
  });
});

void test("who follows hears of connections that pass, with the rule, and that the agent has started anew", async (t) => {
  const agent = await servingAgent(t);
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await agent.kube.create(networkPolicies, ingressFrom({ app: "web" }));
  await until("policy is there", () => pings(web, db, 0));
  const [end, warnings, lines] = [new AbortController(), [] as string[], [] as string[]];
  const following = flows(agent, {
    denied: false,
    follow: true,
    signal: end.signal,
    print: (text) => lines.push(text),
    warn: (text) => warnings.push(text),
  });
  const heard = (text: string): boolean => lines.some((line) => line.includes(text));
  await until("a connection is told", () => {
    send(web, "udp", db, 0, 53);
    return heard('"outcome":"began"') && heard("NetworkPolicy default/open ingress rule 1");
  });
  await agent.stop();
  await until("it waits for the agent", () => warnings.some((text) => text.includes("no agent answers")));
  await agent.start().serving;
  await until("it goes on", () => warnings.includes("the agent has started anew"));
  lines.length = 0;
  await until("connections are told again", () => {
    send(web, "udp", db, 1, 54);
    return heard('"port":54');
  });
  end.abort();
  await following;
});

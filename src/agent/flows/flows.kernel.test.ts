// The flow log from end to end: an agent's pods are denied by objects of the API server, and the tool says who, by which object and why.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addPod, denyAll, neither, pings, reached, servingAgent } from "../../../test/policy-node.ts";
import { until } from "../../../test/until.ts";
import { showFlows } from "../../cli/flows.ts";
import type { ToldFlow } from "../../cli/flows/report.ts";
import { networkPolicies } from "../../kube/policy-objects.ts";
import { statusSocket } from "../status.ts";
import type { ClusterAgent } from "../../../test/cluster-agent.ts";

/** What the tool prints, a line each. */
async function flows(
  { config }: ClusterAgent,
  options: Partial<Parameters<typeof showFlows>[0]> = {},
): Promise<string[]> {
  const lines: string[] = [];
  await showFlows({
    socket: statusSocket(config.paths.socket),
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

// What a link's class is must never open anything: numbers that are forgotten, old, unknown or somebody else's, under a flood of what is denied.

import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type NetworkPolicy, networkPolicies } from "../../src/kube/policy-objects.ts";
import { pods } from "../../src/kube/core-objects.ts";
import type { ClusterAgent } from "../cluster-agent.ts";
import { addPod, pings, servingAgent, type TestPod } from "../policy-node.ts";
import { until } from "../until.ts";
import { type Hammer, startHammer } from "./hammer.ts";

const port = 7000;
const unknownClass = "60000";
/** Labels of a pod that goes from one closed class to another and back. */
const flips = 20;

/** Lets nobody in who is here; each is another object, and so another class. */
const closed = (app: string): NetworkPolicy =>
  networkPolicies.parse({
    metadata: { namespace: "default", name: `closed-${app}` },
    spec: { podSelector: { matchLabels: { app } }, ingress: [{ from: [{ ipBlock: { cidr: "192.0.2.0/24" } }] }] },
  });

interface Scene {
  agent: ClusterAgent;
  db: TestPod;
  web: TestPod;
  foe: TestPod;
  hammer: Hammer;
  /** Packets of the enemy that reached a closed pod. */
  reached: () => number[];
  /** Sets the enemy going for some rounds more, all of which have been judged on return. */
  goOn: () => Promise<void>;
}

function countIn({ netns }: TestPod, { addresses }: TestPod): () => number {
  netns.run(
    "nft",
    `table inet seen {
      counter foe {}
      chain arrivals {
        type filter hook prerouting priority -400
        ip saddr ${addresses[0]} counter name foe drop
        ip6 saddr ${addresses[1]} meta l4proto != ipv6-icmp counter name foe drop
      }
    }`,
  );
  return () =>
    Number(/packets (\d+)/.exec(netns.run("nft", "list", "counter", "inet", "seen", "foe"))?.[1] ?? assert.fail());
}

/** Two closed pods of different classes, and one that calls both without end. */
async function setScene(t: TestContext): Promise<Scene> {
  const agent = await servingAgent(t);
  const [db, web, foe] = [
    await addPod(t, agent, "db", { app: "db" }),
    await addPod(t, agent, "web", { app: "web" }),
    await addPod(t, agent, "foe", { app: "foe" }),
  ];
  for (const app of ["db", "web"]) await agent.kube.create(networkPolicies, closed(app));
  await until("both are closed", () => !pings(foe, db, 0) && !pings(foe, web, 0));
  const counters = [db, web].map((pod) => countIn(pod, foe));
  const from = { netns: foe.netns.name, addresses: { 4: foe.addresses[0], 6: foe.addresses[1] } };
  const targets = [...db.addresses, ...web.addresses];
  const hammer = await startHammer(t, from, { targets, kinds: ["udp", "tcp"], port, roundMs: 1, fresh: true });
  const goOn = async (): Promise<void> => {
    const enough = hammer.round() + 20;
    await until("the enemy goes on", () => hammer.round() >= enough);
  };
  await goOn();
  return { agent, db, web, foe, hammer, goOn, reached: () => counters.map((count) => count()) };
}

const restarted = async (agent: ClusterAgent): Promise<void> => agent.start().serving;

/** The group of each of our links, in the order of their names. */
function groupsOf({ node }: ClusterAgent): string[] {
  return [...node.run("ip", "-o", "link", "show").matchAll(/fl[0-9a-f]{13}@.* group (\S+)/g)].map(
    ([, group = ""]) => group,
  );
}

/** Without policies what is sent arrives: what was counted as nothing would have been counted. */
async function provesReach({ agent, reached }: Scene): Promise<void> {
  for (const { metadata } of (await agent.kube.list(networkPolicies)).items) {
    await agent.kube.remove(networkPolicies, { namespace: "default", name: metadata.name });
  }
  await until("the enemy reaches both", () => reached().every((packets) => packets > 0));
}

test("an agent that has lost what numbers meant, or reads what they meant before, opens nothing", async (t) => {
  const scene = await setScene(t);
  const { agent, reached, goOn, web, foe } = scene;
  const file = join(agent.config.paths.state, "policy.json");
  await agent.stop(); // it writes down what it knows
  const before = groupsOf(agent);
  rmSync(file);
  await restarted(agent);
  await until(
    "links have new numbers",
    () =>
      groupsOf(agent)
        .filter((group) => before.includes(group))
        .join() === "100",
  );
  await goOn();
  assert.deepEqual(reached(), [0, 0], "what was kept is lost");

  await agent.stop();
  const old = readFileSync(file);
  await restarted(agent);
  // A class that the old file knows nothing of: the number that it would give next is carried by a link.
  const late = await addPod(t, agent, "late", { app: "late" });
  await agent.kube.create(networkPolicies, closed("late"));
  await until("the new class is there", () => !pings(foe, late, 0));
  await agent.stop();
  writeFileSync(file, old);
  for (const app of ["more", "other"]) await agent.kube.create(networkPolicies, closed(app));
  await agent.kube.remove(networkPolicies, { namespace: "default", name: "closed-late" });
  await restarted(agent);
  const more = await addPod(t, agent, "more", { app: "more" });
  await until("it is judged by what is said now", () => pings(foe, late, 0));
  assert.equal(pings(foe, more, 0), false);
  await goOn();
  assert.deepEqual(reached(), [0, 0], "what was kept is old");
  assert.equal(pings(foe, web, 0), false);
  await provesReach(scene);
});

test("a number that nobody knows, a class that lost its place, and a pod that changes its class open nothing", async (t) => {
  const scene = await setScene(t);
  const { agent, reached, goOn } = scene;
  const { node, kube } = agent;
  const links = node.run("ip", "-o", "link", "show", "group", "101").match(/fl[0-9a-f]{13}/) ?? [];
  const [link = ""] = links;
  const wanted = groupsOf(agent).join();
  for (const group of [unknownClass, "65535"]) {
    node.run("ip", "link", "set", link, "group", group);
    await until("the link has its class again", () => groupsOf(agent).join() === wanted);
  }
  const elements = node.run("nft", "list", "map", "inet", "fairlead-policy", "ingress_classes");
  const [element = "", number = ""] = /\b(101) : goto [^\s,}]+/.exec(elements) ?? [];
  assert.equal(number, "101", elements);
  node.run("nft", "delete", "element", "inet", "fairlead-policy", "ingress_classes", `{ ${element} }`);
  await until("the class has its chain again", () =>
    node.run("nft", "list", "map", "inet", "fairlead-policy", "ingress_classes").includes(element),
  );
  for (let flip = 0; flip < flips; flip += 1) {
    const app = flip % 2 === 0 ? "web" : "db";
    const groups = groupsOf(agent).join();
    await kube.patch(
      pods,
      { namespace: "default", name: "db" },
      { type: "merge", body: { metadata: { labels: { app } } } },
    );
    await until("the pod has another class", () => groupsOf(agent).join() !== groups);
  }
  await goOn();
  assert.deepEqual(reached(), [0, 0]);
  await provesReach(scene);
});

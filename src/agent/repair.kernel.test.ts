// What somebody does to a living pod's links, routes, neighbours, guard and node settings is put right within a second, and told.

import assert from "node:assert/strict";
import { get } from "node:http";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { startTestAgent, type TestAgent } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { present } from "../base/assert.ts";
import { statusSocket } from "./status.ts";
import { until } from "../../test/until.ts";

/** From the damage until everything is as before. */
const repairedWithinMs = 1000;
/** On a busy computer too: the pass that comes anyway comes every half minute. */
const repairedAtLatestMs = 10_000;

interface Living {
  link: string;
  v4: string;
  v6: string;
}

type Damage = readonly [what: string, act: (agent: TestAgent, living: Living) => void];

const ip = (agent: TestAgent, ...args: string[]): string => agent.node.run("ip", ...args);

const damages: readonly Damage[] = [
  ["the link down", (agent, { link }) => ip(agent, "link", "set", link, "down")],
  ["the link in another group", (agent, { link }) => ip(agent, "link", "set", link, "group", "7")],
  ["another MTU", (agent, { link }) => ip(agent, "link", "set", link, "mtu", "1400")],
  ["another hardware address", (agent, { link }) => ip(agent, "link", "set", link, "address", "02:00:00:00:00:07")],
  ["another alias", (agent, { link }) => ip(agent, "link", "set", link, "alias", "mine now")],
  ["the IPv4 route gone", (agent, { link, v4 }) => ip(agent, "route", "delete", v4, "dev", link)],
  ["the IPv6 route gone", (agent, { link, v6 }) => ip(agent, "-6", "route", "delete", v6, "dev", link)],
  ["the IPv4 neighbour gone", (agent, { link, v4 }) => ip(agent, "neighbour", "delete", v4, "dev", link)],
  ["all neighbours gone", (agent, { link }) => ip(agent, "neighbour", "flush", "dev", link, "nud", "permanent")],
  [
    "a guard entry gone",
    (agent, { link, v4 }) => agent.node.run("nft", `delete element inet fairlead ok4 { "${link}" . ${v4} }`),
  ],
  ["a guard rule gone", (agent) => agent.node.run("nft", "flush chain inet fairlead guard_pod")],
  ["the guard table gone", (agent) => agent.node.run("nft", "delete table inet fairlead")],
  ["the whole ruleset flushed", (agent) => agent.node.run("nft", "flush ruleset")],
  ["the own block's route gone", (agent) => ip(agent, "route", "delete", "unreachable", "10.4.1.0/24")],
  [
    "a rule of ours that nobody asked for",
    (agent) => ip(agent, "rule", "add", "priority", "9", "table", "77", "protocol", "142"),
  ],
  [
    "a node route that nobody asked for",
    (agent) => ip(agent, "route", "add", "10.9.0.0/16", "via", "172.30.0.99", "proto", "142"),
  ],
];

/** All that the node holds of the pod and for it, as plain tools see it. */
function look(agent: TestAgent, { link }: Living): string {
  return [
    ip(agent, "-d", "link", "show", "dev", link).replace(/ state \S+| qlen \d+/g, ""),
    ip(agent, "route", "show", "proto", "142"),
    ip(agent, "-6", "route", "show", "proto", "142"),
    ip(agent, "rule"),
    ip(agent, "neighbour", "show", "nud", "permanent"),
    agent.node.run("nft", "list", "ruleset").replaceAll(/counter spoof \{[^}]*\}/g, ""),
  ].join("\n");
}

function repairs(agent: TestAgent): Promise<string> {
  return new Promise((done, failed) => {
    const socketPath = statusSocket(agent.config.paths.socket);
    get({ socketPath, path: "/metrics" }, (response) => done(text(response))).once("error", failed);
  });
}

test("each damage is repaired within a second, and pods are reached again", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const result = await agent.add({ netns: pod.path });
  const [v4 = "", v6 = ""] = result.ips.map(({ address }) => address.slice(0, address.indexOf("/")));
  const living = { link: result.interfaces[0]?.name ?? "", v4, v6 };
  const before = look(agent, living);
  const took: number[] = [];
  for (const [what, damage] of damages) {
    const startedMs = performance.now();
    damage(agent, living);
    await until(`${what}: repaired`, () => look(agent, living) === before, repairedAtLatestMs);
    took.push(performance.now() - startedMs);
    for (const address of [v4, v6]) agent.node.run("ping", "-c1", "-W5", address);
  }
  // Each look stops the agent, which is in this process, and a busy computer stops both: what most take counts.
  const middle = present(took.toSorted((a, b) => a - b)[took.length >> 1], "a repair");
  assert.ok(middle < repairedWithinMs, `repaired in ${took.map((ms) => Math.round(ms)).join(", ")} ms`);
  const counted = await repairs(agent);
  for (const what of ["wire", "guard", "host"]) {
    assert.match(counted, new RegExp(`fairlead_repairs_total\\{what="${what}"\\} [1-9]`));
  }
});

test("routes of living pods follow the node's own address", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  // The kernel takes the pod's route along with the address.
  for (const [address, before] of [
    ["172.31.0.21", "172.30.0.11"],
    ["172.30.0.11", "172.31.0.21"],
  ] as const) {
    ip(agent, "address", "add", `${address}/24`, "dev", "eth0");
    ip(agent, "address", "delete", `${before}/24`, "dev", "eth0");
    await until(`the pod's route is there again, from ${address}`, () =>
      new RegExp(`10\\.4\\.1\\.2 dev fl\\S+ .*src ${address} `).test(ip(agent, "route", "show", "proto", "142")),
    );
    pod.run("ping", "-c1", "-W5", address);
  }
});

test("node settings are written again, though nothing tells of their change", async (t) => {
  const agent = await startTestAgent(t);
  agent.node.run("sysctl", "-qw", "net.ipv4.ip_forward=0");
  ip(agent, "route", "delete", "unreachable", "10.4.1.0/24"); // wakes the loop, which looks at all of its own
  await until("forwarding is on again", () => agent.node.run("sysctl", "-n", "net.ipv4.ip_forward").trim() === "1");
});

test("a pod's removal is never undone by a repair, however they meet", async (t) => {
  const agent = await startTestAgent(t);
  for (let round = 0; round < 20; round += 1) {
    const pod = makeNetns(t);
    const call = { containerId: `c${round}`, netns: pod.path };
    const { interfaces } = await agent.add(call);
    const link = interfaces[0]?.name ?? "";
    const deleted = agent.cni("DEL", call);
    // The loop wakes for the damage while DEL is under way.
    try {
      ip(agent, "link", "set", link, "group", "7");
    } catch {
      // gone already
    }
    assert.equal((await deleted).exitCode, 0);
    await until("its link is gone", () => !ip(agent, "-o", "link").includes(link));
  }
  assert.equal(ip(agent, "neighbour", "show", "nud", "permanent"), "");
});

// Where the reference's programs meet ours: a node with an agent, a machine outside of it, pods that answer, and what the node's network holds.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { execOk } from "../../lab/exec.ts";
import { fullExchange, type Probe, type ProbeResult } from "../../lab/probing.ts";
import { type NodeStatus, statusSocket } from "../../src/agent/status.ts";
import { askAgent } from "../../src/cli/agent-client.ts";
import { present } from "../../src/base/assert.ts";
import { type CniResult, reaped, startTestAgent, type TestAgent, type TestAgentOptions } from "../agent.ts";
import { makeNetns, type TestNetns } from "../netns.ts";
import { until } from "../until.ts";
import { createRuntime, type Runtime } from "./runtime.ts";

const probeProgram = fileURLToPath(new URL("../../lab/probe.ts", import.meta.url));

/** Pods answer here by TCP and UDP, over both families; on `localPort` at their loopback addresses only. */
export const podPort = 80;
const localPort = 81;

/** Longest single try. What must work works at once; what must not is given up after it. */
const probeWithinMs = 10_000;

/** The node's own addresses, and those of the machine outside. */
export const nodeAddresses = { 4: "172.30.0.11", 6: "fd00:30::11" } as const;
export const outsideAddresses = { 4: "172.30.0.1", 6: "fd00:30::1" } as const;

export interface Stage {
  agent: TestAgent;
  runtime: Runtime;
  /** Another machine on the node's segment, with routes to its pods. */
  outside: TestNetns;
  /** Makes a namespace for a pod. */
  pod(): TestNetns;
  /** Starts a server in `pod` that tells its `name` and whom it saw; it serves on return. */
  serve(pod: TestNetns, name: string): Promise<void>;
  /** Tries `to` from a namespace; gives who answered and whom that one saw. */
  probe(from: TestNetns, to: string, options?: { proto?: Probe["proto"]; port?: number }): Promise<ProbeResult>;
  /** How many addresses of its blocks the agent has given away, IPv4 and IPv6. */
  liveAddresses(): Promise<number[]>;
  /** Everything that a plugin could leave on the node; waits for our reaper first. */
  snapshot(): Promise<Snapshot>;
}

export interface Snapshot {
  /** Links, addresses, routes, rules, permanent neighbours and queues, each as a tool prints them, and the addresses given to pods. */
  network: Record<string, string>;
  /** The ruleset without counters. Reference plugins leave their empty tables and chains in it. */
  ruleset: string;
}

/** An address of a result, without its prefix. */
export function addressOf({ ips }: CniResult, family: 4 | 6): string {
  const found = ips.find(({ address }) => address.includes(":") === (family === 6));
  return present(found, `IPv${family} address`).address.replace(/\/.*/, "");
}

/** The server in `pod` answers the node and the machine outside at the result's addresses, and the pod reaches both. */
export async function assertReached(stage: Stage, pod: TestNetns, result: CniResult): Promise<void> {
  for (const family of [4, 6] as const) {
    for (const from of [stage.agent.node, stage.outside]) {
      const { ok, error } = await stage.probe(from, addressOf(result, family));
      assert.ok(ok, `from ${from === stage.outside ? "outside" : "the node"} over IPv${family}: ${error}`);
    }
    for (const target of [nodeAddresses[family], outsideAddresses[family]]) pod.run("ping", "-c1", "-W2", target);
  }
}

/** Starts all of it; it goes when `t` ends. */
export async function startStage(t: TestContext, options: TestAgentOptions = {}): Promise<Stage> {
  const agent = await startTestAgent(t, options);
  const { node } = agent;
  const outside = makeNetns(t);
  await moveWire(node, outside);
  return {
    agent,
    runtime: createRuntime(t, agent),
    outside,
    pod: () => makeNetns(t),
    serve: (pod, name) => serve(t, pod, name),
    probe: async (from, to, { proto = "tcp", port = podPort } = {}) => {
      const probes: Probe[] = [{ proto, to, port, timeoutMs: probeWithinMs, bytes: fullExchange }];
      const answer = await execOk(process.execPath, [probeProgram, "run"], {
        netns: from.name,
        env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
        input: JSON.stringify(probes),
      });
      return (JSON.parse(answer) as [ProbeResult])[0];
    },
    liveAddresses: () => liveAddressesOf(agent),
    snapshot: async () => {
      await reaped(agent);
      return snapshotOf(node, await liveAddressesOf(agent));
    },
  };
}

/** The far end of the node's uplink becomes another machine, as a cloud's next hop is. Returns when both reach each other. */
async function moveWire(node: TestNetns, outside: TestNetns): Promise<void> {
  node.run("ip", "link", "set", "wire", "netns", outside.name);
  // Link-local addresses would hold up the first packets until the kernel has made sure that they are nobody else's.
  for (const [netns, link] of [
    [node, "eth0"],
    [outside, "wire"],
  ] as const) {
    netns.run("ip", "link", "set", link, "addrgenmode", "none");
    netns.run("ip", "-6", "address", "flush", "dev", link, "scope", "link");
  }
  const ip = (...args: string[]): string => outside.run("ip", ...args);
  ip("address", "add", `${outsideAddresses[4]}/24`, "dev", "wire");
  ip("address", "add", `${outsideAddresses[6]}/64`, "dev", "wire", "nodad");
  ip("link", "set", "wire", "up");
  ip("route", "add", "default", "via", nodeAddresses[4]);
  ip("-6", "route", "add", "default", "via", nodeAddresses[6]);
  for (const family of [4, 6] as const) {
    await until(`the machine outside reaches the node over IPv${family}`, () =>
      succeeds(() => outside.run("ping", "-c1", "-W5", nodeAddresses[family])),
    );
  }
}

function succeeds(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}

async function serve(t: TestContext, pod: TestNetns, name: string): Promise<void> {
  const words = [probeProgram, "serve", name, String(podPort), String(localPort)];
  const child: ChildProcess = spawn("ip", ["netns", "exec", pod.name, process.execPath, ...words], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  const ended = once(child, "exit");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const ready = child.stdio[3];
  if (ready === null || ready === undefined) throw new Error("the server has no descriptor 3");
  await Promise.race([
    once(ready, "data"),
    ended.then(([code]) => {
      throw new Error(`the server in ${pod.name} ended with ${code} before it was ready`);
    }),
  ]);
}

async function liveAddressesOf({ config }: TestAgent): Promise<number[]> {
  const status = (await askAgent(statusSocket(config.paths.socket), "/status")) as NodeStatus;
  return status.addresses.map(({ live }) => live);
}

function snapshotOf(node: TestNetns, given: readonly number[]): Snapshot {
  const links = (JSON.parse(node.run("ip", "-j", "link")) as { ifname: string; group: string }[])
    .map(({ ifname, group }) => `${ifname} group ${group}`)
    .sort();
  return {
    network: {
      links: links.join("\n"),
      addresses: node.run("ip", "-brief", "address"),
      routes: node.run("ip", "-4", "route", "show", "table", "all"),
      routes6: node.run("ip", "-6", "route", "show", "table", "all"),
      rules: node.run("ip", "rule"),
      rules6: node.run("ip", "-6", "rule"),
      neighbours: node.run("ip", "neighbour", "show", "nud", "permanent"),
      queues: node.run("tc", "qdisc"),
      given: given.join(" and "),
    },
    ruleset: node.run("nft", "--stateless", "list", "ruleset"),
  };
}

// An agent's life around its calls: restarts that no pod and no caller notices, sockets that come back, pods and links that nobody asks about.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, renameSync, rmSync, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { reaped, startTestAgent, type TestAgent } from "../../test/agent.ts";
import { makeNetns, type TestNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";
import { askAgent } from "../cli/agent-client.ts";
import { conflistFile } from "../cni/conflist.ts";
import type { Netns } from "../kernel/contract.ts";
import { doomedGroup } from "./plan.ts";
import { statusSocket } from "./status.ts";

const pods = async (agent: TestAgent): Promise<unknown[]> =>
  (await askAgent(statusSocket(agent.config.paths.socket), "/pods")) as unknown[];

interface Flood {
  /** Ends it and gives what was sent and what came back. */
  end(): Promise<{ sent: number; received: number }>;
}

/** Of a call that is to wait for the next agent. */
const patient = { FAIRLEAD_CONNECT_MS: "5000" };

/** Pings without a pause; each answer must come. */
function flood(from: TestNetns, to: string): Flood {
  const args = ["netns", "exec", from.name, "ping", "-i", "0.002", "-W", "5", to];
  const child: ChildProcess = spawn("ip", args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  return {
    end: async () => {
      child.kill("SIGINT");
      await ended;
      const answered = new Set([...text.matchAll(/icmp_seq=(\d+)/g)].map(([, number]) => Number(number)));
      const sent = Number(/(\d+) packets transmitted/.exec(text)?.[1] ?? 0);
      // When it was ended, the answer to its last request could be on its way.
      const last = sent - Math.max(0, ...answered) === 1 ? sent - 1 : sent;
      return { sent: last, received: answered.size };
    },
  };
}

test("restarts and upgrades lose no packet of living pods", async (t) => {
  const agent = await startTestAgent(t);
  const [one, two] = [makeNetns(t), makeNetns(t)];
  const first = await agent.add({ containerId: "c1", netns: one.path });
  await agent.add({ containerId: "c2", netns: two.path });
  for (const family of [0, 1]) {
    const address = first.ips[family]?.address.replace(/\/.*/, "") ?? "";
    const running = flood(two, address);
    for (let time = 0; time < 5; time += 1) {
      await agent.stop();
      await agent.start();
    }
    const { sent, received } = await running.end();
    assert.ok(sent > 50, `${sent} sent to ${address}`);
    assert.equal(received, sent, address);
  }
});

test("calls made while the agent restarts all succeed: they wait for the next one", async (t) => {
  const agent = await startTestAgent(t);
  const sandboxes = Array.from({ length: 24 }, () => makeNetns(t));
  const calls = sandboxes.map((netns, index) =>
    agent.cni("ADD", { containerId: `c${index}`, netns: netns.path, env: patient }),
  );
  await agent.stop();
  await agent.start();
  for (const { exitCode, stdout } of await Promise.all(calls)) {
    // One that was under way when the agent stopped, and took longer than it waits, says "try again".
    assert.equal(exitCode, 0, stdout);
  }
  assert.equal((await pods(agent)).length, sandboxes.length);
});

test("a socket directory that was removed comes back, and with it both sockets and release files", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const { socket } = agent.config.paths;
  rmSync(dirname(socket), { recursive: true });
  await until("the sockets are back", () => existsSync(socket) && existsSync(statusSocket(socket)));
  assert.equal(statSync(dirname(socket)).mode & 0o777, 0o700);
  await agent.add({ netns: pod.path });
  await until("the directory of releases is back", () => existsSync(join(dirname(socket), "releases")));
  assert.equal((await pods(agent)).length, 1);
  await agent.stop();
  assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0);
  await agent.start();
  await until("the release is applied", async () => (await pods(agent)).length === 0);
  await reaped(agent);
});

test("the conflist comes last: a runtime that sees it is answered", async (t) => {
  const agent = await startTestAgent(t);
  await agent.stop();
  const { cniConf, socket } = agent.config.paths;
  const conflist = join(cniConf, conflistFile);
  rmSync(conflist);
  const seen: boolean[] = [];
  const watcher = watch(cniConf, () => existsSync(conflist) && seen.push(existsSync(socket)));
  t.after(() => watcher.close());
  await agent.start();
  await until("somebody has seen it", () => seen.length > 0);
  assert.equal(seen[0], true, "the socket is there");
});

test("a socket that another file replaced is opened again, once", async (t) => {
  const agent = await startTestAgent(t);
  const { socket } = agent.config.paths;
  const before = statSync(socket).ino;
  renameSync(socket, `${socket}.moved`);
  await until("another socket is there", () => existsSync(socket) && statSync(socket).ino !== before);
  rmSync(`${socket}.moved`);
  await agent.add({ netns: makeNetns(t).path });
});

test("the plugin is replaced by rename while it runs: the old one ends well, the new one is whole", async (t) => {
  const agent = await startTestAgent(t);
  const plugin = join(agent.config.paths.cniBin, "fairlead-cni");
  const before = statSync(plugin).ino;
  const calls = Array.from({ length: 8 }, (_, index) =>
    agent.cni("ADD", { containerId: `c${index}`, netns: makeNetns(t).path, env: patient }),
  );
  rmSync(plugin);
  await agent.stop();
  await agent.start(); // places it again
  assert.notEqual(statSync(plugin).ino, before);
  for (const { exitCode, stdout } of await Promise.all(calls)) assert.equal(exitCode, 0, stdout);
  await agent.add({ containerId: "after", netns: makeNetns(t).path });
});

test("what was deleted while no agent ran is gone before the next one serves: a new sandbox of the same name is not taken for it", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ containerId: "c1", netns: pod.path });
  await agent.stop();
  for (let index = 0; index < 20; index += 1) await agent.cni("DEL", { containerId: `never${index}` });
  assert.equal((await agent.cni("DEL", { containerId: "c1", netns: pod.path })).exitCode, 0);
  await agent.start();
  await agent.add({ containerId: "c1", netns: pod.path });
  // One that is written while the agent serves: its caller had given up waiting.
  const releases = join(dirname(agent.config.paths.socket), "releases");
  const kept = join(dirname(releases), "kept");
  await agent.stop();
  await agent.cni("DEL", { containerId: "c1", netns: pod.path });
  const [name = ""] = readdirSync(releases);
  renameSync(join(releases, name), kept);
  await agent.start();
  renameSync(kept, join(releases, name));
  await agent.add({ containerId: "c1", netns: pod.path });
  await until("the file is gone", () => readdirSync(releases).length === 0);
  pod.run("ping", "-c1", "-W5", "172.30.0.11");
});

test("an agent serves only when what was deleted while none ran is gone", async (t) => {
  const serving: boolean[] = [];
  const agent: TestAgent = await startTestAgent(t, {
    wrap: (kernel) => {
      const { node } = kernel;
      const apply: Netns["apply"] = async (ops) => {
        // The removal takes long: time enough for an agent that does not wait for it.
        if (ops.some((op) => op.op === "link.set" && op.group === doomedGroup)) {
          const { socket } = agent.config.paths;
          const endMs = performance.now() + 500;
          await until("the agent serves, or half a second", () => existsSync(socket) || performance.now() > endMs);
          serving.push(existsSync(socket));
        }
        return node.apply(ops);
      };
      return { ...kernel, node: { ...node, id: node.id, apply } };
    },
  });
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  await agent.stop();
  assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0);
  await agent.start();
  assert.deepEqual(serving, [false]);
});

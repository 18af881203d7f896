// `fairlead uninstall` on nodes that an agent has served: nothing while pods hang on it, and nothing of ours left afterwards.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { startTestAgent, type TestAgent } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";
import { Fault, isFault } from "../base/fault.ts";
import { silentLog } from "../base/log.ts";
import type { Kernel } from "../kernel/contract.ts";
import { openKernel } from "../kernel/kernel.ts";
import { keptPolicyName } from "./policy/kept.ts";
import { uninstall } from "./uninstall.ts";

interface Served {
  agent: TestAgent;
  uninstall: (options?: { force?: boolean; callMs?: number; wrap?: (kernel: Kernel) => Kernel }) => Promise<string[]>;
}

/** A node whose agent masquerades, has a route to another node, and has told the host's daemons of itself. */
async function serve(t: TestContext): Promise<Served> {
  const agent = await startTestAgent(t, {
    audited: false,
    routes: [{ to: "10.4.2.0/24", via: "172.30.0.12" }],
    settings: { masquerade: { enabled: true } },
  });
  const { etc } = agent.config.paths;
  mkdirSync(join(etc, "systemd/network"), { recursive: true });
  await agent.stop();
  await agent.start(); // the folder is there now
  const kernel = openKernel({ nodeNetns: agent.node.path, log: silentLog() });
  t.after(() => kernel.close());
  return {
    agent,
    uninstall: ({ force = false, callMs = 50, wrap = (real: Kernel) => real } = {}) =>
      uninstall({ config: agent.config, kernel: wrap(kernel), log: silentLog(), force, callMs }),
  };
}

/** All that is ours on the node, by the eyes of others. */
function ofOurs({ node, config }: TestAgent): string[] {
  const { paths } = config;
  const lines = (text: string, what: string): string[] =>
    text
      .split("\n")
      .filter((line) => line.trim() !== "")
      .map((line) => `${what}: ${line.trim()}`);
  const files = [paths.cniConf, paths.cniBin, paths.state, dirname(paths.socket), paths.etc].flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [],
  );
  return [
    ...lines(node.run("ip", "-o", "link"), "link").filter((line) => / fl[0-9a-fx]/.test(line)),
    ...lines(node.run("ip", "-4", "route", "show", "table", "all", "proto", "142"), "route"),
    ...lines(node.run("ip", "-6", "route", "show", "table", "all", "proto", "142"), "route"),
    ...lines(node.run("ip", "-N", "-d", "rule"), "rule").filter((line) => line.includes("proto 142")),
    ...lines(node.run("nft", "list", "tables"), "table"),
    ...files.filter((entry) => !entry.isDirectory()).map(({ name }) => `file: ${name}`),
  ];
}

test("a node without pods is left as if Fairlead had never been there; what is not ours stays", async (t) => {
  const { agent, uninstall } = await serve(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  await agent.cni("DEL", { netns: pod.path });
  await agent.stop();
  const { cniConf, cniBin, etc, state } = agent.config.paths;
  // What an agent in a cluster leaves beside the rest.
  writeFileSync(join(state, keptPolicyName), "{}");
  agent.node.run("nft", "add", "table", "inet", "fairlead-policy");
  writeFileSync(join(cniConf, "99-loopback.conf"), "{}");
  writeFileSync(join(cniBin, "bridge"), "");
  writeFileSync(join(etc, "systemd/network/99-default.link"), "");
  agent.node.run("ip", "route", "add", "10.9.0.0/24", "via", "172.30.0.12", "proto", "static");
  agent.node.run("ip", "rule", "add", "from", "10.9.0.0/24", "lookup", "77", "protocol", "142");
  assert.ok(ofOurs(agent).length > 10, ofOurs(agent).join("\n"));
  const removed = await uninstall();
  assert.deepEqual(ofOurs(agent), ["file: 99-loopback.conf", "file: bridge", "file: 99-default.link"]);
  assert.match(agent.node.run("ip", "route"), /10\.9\.0\.0\/24/);
  assert.match(
    removed.join(", "),
    /^network configuration, plugin, (?:links(?:: 2)?, )?routes: 3, rules, source guard, files for the host's daemons: 3, .*state files/,
  );
  assert.deepEqual(await uninstall(), [], "a second time finds nothing");
});

test("while a pod is attached nothing is changed, and the pod is named", async (t) => {
  const { agent, uninstall } = await serve(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path, env: { CNI_ARGS: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web" } });
  await agent.stop();
  const before = ofOurs(agent);
  await assert.rejects(uninstall(), (error) => {
    assert.ok(isFault(error, "pods-attached"));
    assert.match(error.message, /^1 attached here .*: default\/web; delete those pods first/);
    return true;
  });
  assert.deepEqual(ofOurs(agent), before);
  await agent.start();
  pod.run("ping", "-c1", "-W5", "172.30.0.11");
});

test("a DEL that is under way writes its release down, and that goes too", async (t) => {
  const { agent, uninstall } = await serve(t);
  await agent.add({ netns: makeNetns(t).path });
  await agent.stop();
  const underWay = agent.cni("DEL", { env: { FAIRLEAD_CONNECT_MS: "400" } });
  await uninstall({ force: true, callMs: 3000 });
  assert.equal((await underWay).exitCode, 0);
  assert.deepEqual(ofOurs(agent), []);
});

test("a pod whose interface is another plugin's holds it up as long as its namespace is there", async (t) => {
  const { agent, uninstall } = await serve(t);
  const pod = makeNetns(t);
  const asIpam = { type: "bridge", ipam: { type: "fairlead-cni" } };
  const lent = await agent.cni("ADD", { netns: pod.path, config: asIpam });
  assert.equal(lent.exitCode, 0, lent.stdout);
  await agent.stop();
  await assert.rejects(uninstall(), /fairlead\/c1\/eth0/);
  pod.remove();
  await uninstall();
  assert.deepEqual(ofOurs(agent), []);
});

test("a DEL that came without an agent needs no agent: once the pod's namespace is gone, so is what held it up", async (t) => {
  const { agent, uninstall } = await serve(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  await agent.stop();
  const { exitCode } = await agent.cni("DEL", { netns: pod.path });
  assert.equal(exitCode, 0);
  pod.remove();
  // The kernel takes a namespace's links with it a moment later.
  await until("the pod's link is gone", () => !/ fl[0-9a-f]/.test(agent.node.run("ip", "-o", "link")));
  await uninstall();
  assert.deepEqual(ofOurs(agent), []);
});

test("by force pods lose their network, and the node is as clean; an agent can begin anew there", async (t) => {
  const { agent, uninstall } = await serve(t);
  const [pod, other] = [makeNetns(t), makeNetns(t)];
  await agent.add({ netns: pod.path });
  await agent.add({ netns: other.path, containerId: "c2" });
  await agent.stop();
  await uninstall({ force: true });
  assert.deepEqual(ofOurs(agent), []);
  assert.throws(() => other.run("ping", "-c1", "-W1", "172.30.0.11"));
  await agent.start();
  const { ips } = await agent.add({ netns: pod.path, containerId: "c3" });
  assert.equal(ips[0]?.address, "10.4.1.2/32");
});

test("a running agent is not worked against, by force neither", async (t) => {
  const { agent, uninstall } = await serve(t);
  const before = ofOurs(agent);
  await assert.rejects(
    uninstall({ force: true }),
    /an agent answers on .*cni\.sock and would put everything back; stop it/,
  );
  assert.deepEqual(ofOurs(agent), before);
});

test("a state file that cannot be read does not hold it up", async (t) => {
  const { agent, uninstall } = await serve(t);
  await agent.stop();
  writeFileSync(join(agent.config.paths.state, "fairlead.db"), "no database".repeat(1000));
  await uninstall();
  assert.deepEqual(ofOurs(agent), []);
});

test("what cannot be removed is named, the rest is gone, and the state file stays for the next try", async (t) => {
  const { agent, uninstall } = await serve(t);
  await agent.stop();
  const busy = async (): Promise<never> => {
    throw new Fault("kernel-busy", "the table is held");
  };
  const wrap = (real: Kernel): Kernel => ({ ...real, guard: { ...real.guard, prune: busy } });
  await assert.rejects(uninstall({ wrap }), (error) => {
    assert.ok(isFault(error, "cleanup-incomplete"));
    assert.match(error.message, /^not all is removed: source guard: the table is held$/);
    return true;
  });
  const left = ofOurs(agent);
  assert.deepEqual(
    left.filter((line) => !/fairlead\.db/.test(line)),
    ["table: table inet fairlead"],
  );
  assert.ok(left.some((line) => line.endsWith("fairlead.db")));
  await uninstall();
  assert.deepEqual(ofOurs(agent), []);
});

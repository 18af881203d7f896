// Masquerade by a whole agent: its file in every state, pods' packets seen by a machine outside, and what others do to the table.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { startTestAgent, type TestAgent, type TestAgentOptions } from "../../test/agent.ts";
import { calls, runIn } from "../../test/masq-stage.ts";
import { makeNetns, type TestNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";
import { checkNode } from "../cli/check.ts";
import { statusSocket } from "./status.ts";

const pods = ["10.4.1.0/24"];
const linkLocal = "169.254.0.0/16";
const defaults = { pods, kept: ["10.0.0.0/8", linkLocal, "172.16.0.0/12", "192.168.0.0/16"] };

interface Made {
  agent: TestAgent;
  /** The directory that is mounted, as the agent knows it. */
  directory: string;
  /** Puts a file there as kubelet does: all at once. */
  write: (text: string) => void;
  /** What the audit is to find. */
  expect: (what: TestAgentOptions["masquerade"]) => void;
}

async function makeAgent(
  t: TestContext,
  keys: object = {},
  text?: string,
  options: TestAgentOptions = {},
): Promise<Made> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-masq-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  let expected: TestAgentOptions["masquerade"] = () => defaults;
  let version = 0;
  const write = (words: string): void => {
    version += 1;
    mkdirSync(join(directory, `..${version}`));
    writeFileSync(join(directory, `..${version}`, "config"), words);
    symlinkSync(`..${version}`, join(directory, "..next"));
    renameSync(join(directory, "..next"), join(directory, "..data"));
    if (version === 1) symlinkSync("..data/config", join(directory, "config"));
  };
  if (text !== undefined) write(text);
  const settings = { masquerade: { enabled: true, configFile: directory, ...keys } };
  const agent = await startTestAgent(t, { settings, masquerade: () => expected?.(), ...options });
  return {
    agent,
    directory,
    write,
    expect: (what) => {
      expected = what;
    },
  };
}

const check = ({ config }: TestAgent): ReturnType<typeof checkNode> =>
  checkNode({ socket: statusSocket(config.paths.socket), output: "table" });

/** Asked by another process that is waited for: this one has to answer. */
async function metricsOf({ config }: TestAgent): Promise<string> {
  const words = ["-sS", "--unix-socket", statusSocket(config.paths.socket), "http://node/metrics"];
  return (await promisify(execFile)("curl", words, { timeout: 10_000 })).stdout;
}

const table = (node: TestNetns): string =>
  node.run("sh", "-c", "nft list table inet fairlead-masq 2>/dev/null || true");

/** Waits until the table holds a range, or does not. */
const untilKept = (node: TestNetns, range: string, kept = true): Promise<void> =>
  until(`${range} is ${kept ? "" : "not "}kept`, () => table(node).includes(range) === kept);

test("without a file the defaults hold; the pod is seen by its node's address outside, by its own in a kept range", async (t) => {
  const { agent } = await makeAgent(t);
  const outside = makeNetns(t);
  const { node } = agent;
  node.run("ip", "link", "set", "wire", "netns", outside.name);
  outside.run(
    "sh",
    "-ec",
    `ip link set lo up; ip link set wire up; ip address add 172.30.0.1/24 dev wire
     ip address add 203.0.113.9/32 dev lo; ip address add 192.168.77.1/32 dev lo; ip route add 10.4.1.0/24 via 172.30.0.11`,
  );
  node.run("ip", "route", "add", "default", "via", "172.30.0.1");
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  await runIn(t, outside, server, "203.0.113.9", "192.168.77.1");
  await until("the table is there", () => table(node).includes("masquerade fully-random"));
  assert.equal(calls(pod, "udp", "203.0.113.9")[0]?.seenFrom, "172.30.0.11");
  assert.equal(calls(pod, "udp", "192.168.77.1")[0]?.seenFrom, "10.4.1.2");
  const { text } = await check(agent);
  assert.match(text, /^ok +masquerade +10\.4\.1\.0\/24, but for 4 ranges \(defaults, no file at /m);
});

const server = `
import socket, sys, threading
def serve(address):
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((address, 9000))
    while True:
        _, name = bound.recvfrom(16)
        bound.sendto(("%s %d\\n" % name).encode(), name)
for address in sys.argv[1:]:
    threading.Thread(target=serve, args=(address,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
`;

test("the file is followed; a wrong one changes nothing and is told; then it is followed again", async (t) => {
  const { agent, write, expect } = await makeAgent(t, {}, "nonMasqueradeCIDRs: [100.64.0.0/10]\nresyncInterval: 1s\n");
  const { node } = agent;
  await untilKept(node, "100.64.0.0/10");
  write("nonMasqueradeCIDRs: [198.18.0.1/15]\nresyncInterval: 1s\n");
  await until("check tells", async () =>
    /^warning +masquerade +.*198\.18\.0\.1\/15" has bits set after its prefix/ms.test((await check(agent)).text),
  );
  const metrics = await metricsOf(agent);
  assert.match(metrics, /^fairlead_masquerade_file\{state="bad"\} 1$/m);
  node.run("nft", "delete", "table", "inet", "fairlead-masq");
  await untilKept(node, "100.64.0.0/10"); // the rules before it stay, whoever takes them away
  write("nonMasqueradeCIDRs: [198.18.0.0/15]\nmasqLinkLocal: true\nresyncInterval: 1s\nmasqLinklocal6: true\n");
  await untilKept(node, "198.18.0.0/15");
  assert.match((await check(agent)).text, /masquerade +"masqLinklocal6" in .* is none of its keys/);
  expect(() => ({ pods, kept: [pods[0] ?? "", "198.18.0.0/15"] }));
});

test("a file that is wrong from the start: rules of an earlier agent stay, and none are made up", async (t) => {
  const { agent, write } = await makeAgent(t, {}, "resyncInterval: 1s\n");
  const { node } = agent;
  await untilKept(node, "172.16.0.0/12");
  await agent.stop();
  write("nonMasqueradeCIDRs: []\nresyncInterval: soon\n");
  await agent.start();
  await until("check tells", async () => /^BAD +masquerade +.*"soon" is not a time/ms.test((await check(agent)).text));
  assert.match(table(node), /172\.16\.0\.0\/12/);
  node.run("nft", "delete", "table", "inet", "fairlead-masq");
  await agent.stop();
  await agent.start();
  await until("check tells", async () => (await check(agent)).text.includes("BAD"));
  assert.equal(table(node), "");
  agent.audit.expectDamage(/fairlead-masq is missing/, "no settings are known");
});

test("what somebody takes away is back within a second; an agent that starts again changes nothing", async (t) => {
  const { agent } = await makeAgent(t);
  const { node } = agent;
  await until("the table is there", () => table(node).includes("masquerade fully-random"));
  const right = table(node);
  for (const damage of ["flush ruleset", "flush table inet fairlead-masq", "delete table inet fairlead-masq"]) {
    node.run("nft", damage);
    // Not by the pass that comes anyway, every half minute.
    await until(`repaired after ${damage}`, () => table(node) === right, 10_000);
  }
  const before = node.run("nft", "-a", "list", "table", "inet", "fairlead-masq");
  await agent.stop();
  assert.equal(node.run("nft", "-a", "list", "table", "inet", "fairlead-masq"), before, "pods go on without an agent");
  await agent.start();
  await until("a pass was made", async () => (await check(agent)).text.includes("10.4.1.0/24, but for"));
  assert.equal(node.run("nft", "-a", "list", "table", "inet", "fairlead-masq"), before);
  const metrics = await metricsOf(agent);
  assert.match(metrics, /^fairlead_masquerade_file\{state="absent"\} 1$/m);
  assert.match(metrics, /^fairlead_masquerade_kept_ranges\{family="4"\} 4$/m);
});

test("off: a table of an earlier agent goes, once; one that is not ours by name stays", async (t) => {
  const { agent } = await makeAgent(t, { enabled: false }, undefined, { masquerade: () => undefined });
  const { node } = agent;
  await until("the loop has passed", async () => /^ok +masquerade +is off/m.test((await check(agent)).text));
  await agent.stop();
  node.run("nft", "table inet fairlead-masq { chain postrouting { type nat hook postrouting priority 110; }; }");
  node.run("nft", "table inet masq { }");
  await agent.start();
  await until("it is gone", () => table(node) === "");
  assert.match(node.run("nft", "list", "tables"), /table inet masq/);
});

test("blocks of other nodes, ranges of pods and both families are kept as the keys say", async (t) => {
  const keys = { ipv6: true, podRanges: ["198.18.0.0/15"] };
  const text = "nonMasqueradeCIDRs: []\nmasqLinkLocal: true\n";
  const routes = [{ to: "100.65.2.0/24", via: "172.30.0.12" }];
  const { agent, expect } = await makeAgent(t, keys, text, { routes });
  expect(() => ({
    pods: ["10.4.1.0/24", "fd00:10:4:1::/64"],
    kept: ["10.4.1.0/24", "100.65.2.0/24", "198.18.0.0/15", "fd00:10:4:1::/64", "fe80::/10"],
  }));
  await untilKept(agent.node, "198.18.0.0/15");
});

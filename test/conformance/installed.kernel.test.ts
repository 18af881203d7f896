// Conformance 11, second part: the list and the plugin that the agent installs, as runtimes find, read and run them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../until.ts";
import { createChain, type List } from "./chain.ts";
import { reachable } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { type Result, resultOf, silent } from "./runtime.ts";

const node = await startNode(fileScope);

test("11.7 the installed list can be read by runtimes: name, version, plugins, and plugin names without a path", () => {
  const { cniConf } = node.agent.config.paths;
  const text = readFileSync(join(cniConf, "10-fairlead.conflist"), "utf8");
  const installed = JSON.parse(text) as Record<string, unknown>;
  assert.match(String(installed["name"]), /^[A-Za-z0-9][A-Za-z0-9_.-]*$/);
  assert.match(String(installed["cniVersion"]), /^\d+\.\d+\.\d+$/);
  const plugins = installed["plugins"] as { type: string }[];
  assert.ok(plugins.length > 0);
  for (const { type } of plugins) assert.match(type, /^[^/]+$/);
  // A runtime looks into a directory of the network's name for more plugins: nothing of ours may lie there.
  assert.ok(!existsSync(join(cniConf, String(installed["name"]))));
});

test("11.8 the installed list leaves CHECK and GC on", () => {
  const text = readFileSync(join(node.agent.config.paths.cniConf, "10-fairlead.conflist"), "utf8");
  const installed = JSON.parse(text) as Record<string, unknown>;
  for (const key of ["disableCheck", "disableGC", "loadOnlyInlinedPlugins"])
    assert.ok([undefined, false].includes(installed[key] as undefined | false), key);
});

test("11.9 the installed list serves runtimes that know nothing newer than 1.0.0, and those that know 1.1.0", () => {
  const text = readFileSync(join(node.agent.config.paths.cniConf, "10-fairlead.conflist"), "utf8");
  const { cniVersion, cniVersions = [] } = JSON.parse(text) as { cniVersion: string; cniVersions?: string[] };
  // Older runtimes (libcni before 1.2) read cniVersion alone, and fail on results of a version that they do not know.
  assert.match(cniVersion, /^(?:0\.[34]\.\d|1\.0\.0)$/);
  // Newer ones take the highest that they know of both keys; STATUS and GC need it to be 1.1.0.
  assert.ok(cniVersions.includes("1.1.0"), `cniVersions ${cniVersions.join(", ")}`);
});

test("11.10 every plugin of the installed list is installed, and attaches a pod as the list says", async (t) => {
  const { cniConf, cniBin } = node.agent.config.paths;
  const installed = JSON.parse(readFileSync(join(cniConf, "10-fairlead.conflist"), "utf8")) as List;
  const chain = createChain(node, installed, [cniBin]);
  const pod = node.pod(t);
  const result = await chain.add(pod);
  reachable(node, pod.ns, result);
  for (const outcome of await chain.check(pod, result)) silent(outcome);
  await chain.del(pod, result);
});

test("11.11 the list has a name that runtimes come to first, and nothing else of ours lies beside it", () => {
  const files = readdirSync(node.agent.config.paths.cniConf);
  assert.deepEqual(files, ["10-fairlead.conflist"]);
  const runtimesOwn = [
    "100-crio-bridge.conflist",
    "200-loopback.conf",
    "87-podman-bridge.conflist",
    "99-loopback.conf",
  ];
  assert.equal([...runtimesOwn, ...files].sort()[0], files[0]);
});

test("11.12 list and plugin appear whole, by rename, the list last and only once the agent serves", async (t) => {
  const { agent, plugin } = await startNode(t);
  const { cniConf, socket } = agent.config.paths;
  await agent.stop();
  writeFileSync(join(cniConf, "10-fairlead.conflist"), "{}");
  writeFileSync(plugin, "old");
  const seen = new Set<string>();
  const early: string[] = [];
  const watcher = watch(cniConf, (_, name) => {
    if (name !== null) seen.add(name);
    const text = readFileSync(join(cniConf, "10-fairlead.conflist"), "utf8");
    if (text === "{}") return;
    JSON.parse(text); // never half of one
    if (!existsSync(socket)) early.push("the agent's socket is not there yet");
    if (readFileSync(plugin).length < 1000) early.push("the plugin is not there yet");
  });
  t.after(() => watcher.close());
  await agent.start();
  await until("the new list was seen", () => seen.has("10-fairlead.conflist"));
  const { plugins } = JSON.parse(readFileSync(join(cniConf, "10-fairlead.conflist"), "utf8")) as { plugins: unknown[] };
  assert.equal(plugins.length, 1);
  assert.deepEqual(early, []);
  // A runtime that looks in between must not take a draft for a list.
  for (const name of seen)
    assert.ok(name === "10-fairlead.conflist" || !/\.(?:conf|conflist|json)$/.test(name), `draft ${name}`);
});

test("11.13 plugin and list are plain files with the modes of such, whatever stood there before", async (t) => {
  const other = await startNode(t);
  const { cniConf } = other.agent.config.paths;
  const files = [
    [other.plugin, 0o755],
    [join(cniConf, "10-fairlead.conflist"), 0o644],
  ] as const;
  for (const [file, mode] of files) {
    assert.ok(statSync(file).isFile(), file);
    assert.equal(statSync(file).mode & 0o7777, mode, file);
  }
});

test("11.14 the plugin is replaced while a call of the old one is under way, which ends well", async (t) => {
  const other = await startNode(t);
  const pod = other.pod(t);
  await other.agent.stop();
  appendFileSync(other.plugin, "an older version"); // bytes after its end are nothing to a program
  const env = other.env("ADD", pod, { FAIRLEAD_CONNECT_MS: "5000" });
  const child = spawn(other.plugin, [], { env, timeout: 30_000 });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  await once(child, "spawn");
  const { ino, size } = statSync(other.plugin);
  await other.agent.start();
  assert.notEqual(statSync(other.plugin).ino, ino, "a file in its place, not the old one written over");
  assert.ok(statSync(other.plugin).size < size);
  child.stdin.end(JSON.stringify(other.conf()));
  const [exitCode] = (await once(child, "close")) as [number];
  assert.equal(exitCode, 0, stdout);
  reachable(other, pod.ns, JSON.parse(stdout) as Result);
  silent(await other.call("DEL", pod));
});

test("11.15 a directory where the plugin's or the list's own directory is missing is made", async (t) => {
  const other = await startNode(t);
  const { cniConf, cniBin } = other.agent.config.paths;
  await other.agent.stop();
  for (const directory of [cniConf, cniBin]) rmSync(directory, { recursive: true });
  mkdirSync(cniBin, { mode: 0o700 });
  await other.agent.start();
  resultOf(await other.call("ADD", other.pod(t)));
  assert.deepEqual(readdirSync(cniConf), ["10-fairlead.conflist"]);
});

test("11.16 an agent that cannot install says where, and ends: no runtime finds half of it", async (t) => {
  const other = await startNode(t);
  other.agent.audit.expectDamage(/state\/(?:agent\.yaml|in-the-way) is there/, "written here");
  await other.agent.stop();
  const { node, addresses, paths } = other.agent.config;
  const inTheWay = join(paths.state, "in-the-way");
  writeFileSync(inTheWay, "");
  const file = join(paths.state, "agent.yaml");
  const cniConf = join(inTheWay, "net.d");
  writeFileSync(file, JSON.stringify({ node, addresses, paths: { ...paths, cniConf } }));
  const program = fileURLToPath(new URL("../../bin/fairlead", import.meta.url));
  const child = spawn("ip", ["netns", "exec", other.ns.name, program, "agent", "--config", file]);
  const ended = once(child, "close");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-4000)));
  await until("the agent has ended", () => child.exitCode !== null || child.signalCode !== null);
  assert.notEqual(child.exitCode, 0);
  assert.ok(stderr.includes(cniConf), stderr);
  assert.ok(!existsSync(paths.socket), "its socket is gone with it");
});

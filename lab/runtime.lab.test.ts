// The runtime stand-in against a recording plugin: what a plugin is given, in which order, and what stays after a failure.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { z } from "zod";
import { present } from "../src/base/assert.ts";
import { removeLab } from "./down.ts";
import { readJson } from "./json.ts";
import { planCluster } from "./layout.ts";
import { makeNetns, netnsIdentity } from "./netns.ts";
import { createLab } from "./record.ts";
import { createRuntime, type Runtime } from "./runtime.ts";

/**
 * Keeps what it is given as NUMBER.VERB.NAME.env and .stdin beside itself; answers ADD with the address of its own name.
 * A file VERB.NAME.fail there makes it fail; VERB.NAME.print makes it print that.
 */
const plugin = `#!/bin/sh
name=\${0##*/} dir=\${0%/*}
call=$(ls "$dir" | grep -c env$).$CNI_COMMAND.$name
cat >"$dir/$call.stdin"
env >"$dir/$call.env"
if [ -e "$dir/$CNI_COMMAND.$name.fail" ]; then echo '{"code":11,"msg":"told to fail"}'; exit 1; fi
if [ -e "$dir/$CNI_COMMAND.$name.print" ]; then cat "$dir/$CNI_COMMAND.$name.print"; exit 0; fi
[ "$CNI_COMMAND" != ADD ] || printf '{"cniVersion":"1.1.0","by":"%s","interfaces":[{"name":"eth0","sandbox":"%s"}],"ips":[{"address":"10.9.0.1/32","interface":0}]}' "$name" "$CNI_NETNS"
`;

interface Stand {
  runtime: Runtime;
  bin: string;
  podNetns: string;
  nodeNetns: string;
  cache: string;
}

let labs = 0;

/** A node without an agent: its machine, a list of two plugins, and a runtime. */
async function stand(t: TestContext, list: object = {}): Promise<Stand> {
  labs += 1;
  const name = `rt${process.pid}x${labs}`;
  const lab = createLab({ name });
  t.after(() => removeLab(name));
  const node = present(planCluster({ lab: name, nodes: 1, families: [4], gateway: false }).nodes[0], "node");
  await makeNetns(lab, node.netns);
  for (const part of ["net.d", "bin"]) mkdirSync(`${node.directory}/${part}`, { recursive: true });
  for (const type of ["first", "second"]) writeFileSync(`${node.directory}/bin/${type}`, plugin, { mode: 0o755 });
  const plugins = [{ type: "first", color: "red" }, { type: "second" }];
  const wanted = JSON.stringify({ cniVersion: "1.1.0", name: "net", plugins, ...list });
  writeFileSync(`${node.directory}/net.d/10-wanted.conflist`, wanted);
  writeFileSync(`${node.directory}/net.d/20-other.conflist`, "not even JSON");
  writeFileSync(`${node.directory}/net.d/00-readme.txt`, "no configuration");
  return {
    runtime: createRuntime(lab, node),
    bin: `${node.directory}/bin`,
    podNetns: `flab-${name}-pod-p`,
    nodeNetns: node.netns,
    cache: `${node.directory}/runtime/p.json`,
  };
}

/** The calls in their order: "ADD.first". */
function calls(bin: string): string[] {
  const files = readdirSync(bin).filter((name) => name.endsWith(".env"));
  const numbered = files.map(
    (name) => [Number(name.split(".")[0]), name.slice(name.indexOf(".") + 1, -".env".length)] as const,
  );
  return numbered.sort(([a], [b]) => a - b).map(([, call]) => call);
}

function environment(bin: string, call: string): Record<string, string> {
  const lines = readFileSync(`${bin}/${call}.env`, "utf8").trimEnd().split("\n");
  return Object.fromEntries(
    lines.map((line): [string, string] => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

function stdin(bin: string, call: string): Record<string, unknown> {
  return readJson(z.record(z.string(), z.unknown()), readFileSync(`${bin}/${call}.stdin`, "utf8"), call);
}

void test("ADD: environment, configuration and results as the specification has them", async (t) => {
  const { runtime, bin, podNetns, nodeNetns, cache } = await stand(t);
  const sandbox = await runtime.add("p");
  assert.deepEqual(calls(bin), ["ADD.first", "ADD.second"]);
  const env = environment(bin, "0.ADD.first");
  assert.match(env["CNI_CONTAINERID"] ?? "", /^[0-9a-f]{64}$/);
  assert.equal(env["CNI_NETNS"], `/run/netns/${podNetns}`);
  assert.equal(env["CNI_IFNAME"], "eth0");
  assert.equal(env["CNI_PATH"], bin);
  assert.equal(
    env["CNI_ARGS"],
    `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=${sandbox.containerId};K8S_POD_UID=${sandbox.uid}`,
  );
  assert.deepEqual(stdin(bin, "0.ADD.first"), { type: "first", color: "red", name: "net", cniVersion: "1.1.0" });
  const { prevResult, ...rest } = stdin(bin, "1.ADD.second");
  assert.deepEqual(rest, { type: "second", name: "net", cniVersion: "1.1.0" });
  assert.equal(readJson(z.object({ by: z.string() }), JSON.stringify(prevResult), "prevResult").by, "first");
  assert.deepEqual(sandbox.result?.addresses, { 4: "10.9.0.1" });
  assert.equal(statSync(cache).mode & 0o777, 0o600);
  assert.deepEqual(runtime.sandbox("p"), sandbox, "the cache tells the same as ADD did");
  assert.notEqual(netnsIdentity(nodeNetns), netnsIdentity(podNetns));
});

void test("CHECK in order and DEL in reverse, both with the final result, also after the configuration is gone", async (t) => {
  const { runtime, bin, podNetns, cache } = await stand(t);
  await runtime.add("p");
  rmSync(`${bin}/../net.d`, { recursive: true });
  await runtime.check("p");
  await runtime.del("p");
  assert.deepEqual(calls(bin).slice(2), ["CHECK.first", "CHECK.second", "DEL.second", "DEL.first"]);
  for (const call of ["2.CHECK.first", "3.CHECK.second", "4.DEL.second", "5.DEL.first"]) {
    const { by } = readJson(z.object({ by: z.string() }), JSON.stringify(stdin(bin, call)["prevResult"]), "prevResult");
    assert.equal(by, "second", call);
  }
  assert.ok(!existsSync(cache));
  assert.equal(netnsIdentity(podNetns), undefined);
});

void test("a failed ADD is followed by DEL of the whole chain, and nothing of the pod stays", async (t) => {
  const { runtime, bin, podNetns, cache } = await stand(t);
  writeFileSync(`${bin}/ADD.second.fail`, "");
  await assert.rejects(runtime.add("p"), /ADD of p failed with code 11: told to fail/);
  assert.deepEqual(calls(bin), ["ADD.first", "ADD.second", "DEL.second", "DEL.first"]);
  assert.ok(!("prevResult" in stdin(bin, "2.DEL.second")), "there is no final result to give");
  assert.ok(!existsSync(cache));
  assert.equal(netnsIdentity(podNetns), undefined);
  rmSync(`${bin}/ADD.second.fail`);
  await runtime.add("p");
});

void test("a DEL that fails is told and can be done again; the other plugins are called all the same", async (t) => {
  const { runtime, bin, podNetns, cache } = await stand(t);
  await runtime.add("p");
  writeFileSync(`${bin}/DEL.second.fail`, "");
  await assert.rejects(runtime.del("p"), /DEL of p failed with code 11/);
  assert.deepEqual(calls(bin).slice(2), ["DEL.second", "DEL.first"]);
  assert.ok(existsSync(cache) && netnsIdentity(podNetns) !== undefined);
  rmSync(`${bin}/DEL.second.fail`);
  await runtime.del("p");
  assert.ok(!existsSync(cache) && netnsIdentity(podNetns) === undefined);
});

void test("DEL for a namespace that is gone has none to name", async (t) => {
  const { runtime, bin } = await stand(t);
  const sandbox = await runtime.add("p");
  await runtime.del("p");
  await runtime.delAgain(sandbox);
  assert.equal(environment(bin, "3.DEL.first")["CNI_NETNS"]?.startsWith("/run/netns/"), true);
  assert.equal(environment(bin, "5.DEL.first")["CNI_NETNS"], "");
  assert.equal(environment(bin, "5.DEL.first")["CNI_CONTAINERID"], sandbox.containerId);
});

void test("what a plugin may not do is refused: a result of another pod, output where none belongs", async (t) => {
  const { runtime, bin } = await stand(t);
  writeFileSync(
    `${bin}/ADD.second.print`,
    '{"cniVersion":"1.1.0","interfaces":[],"ips":[{"address":"10.9.0.1/32","interface":0}]}',
  );
  await assert.rejects(runtime.add("p"), /names eth0 .* 0 times/);
  rmSync(`${bin}/ADD.second.print`);
  await runtime.add("p");
  writeFileSync(`${bin}/CHECK.first.print`, "{}");
  await assert.rejects(runtime.check("p"), /CHECK succeeded but printed/);
});

void test("STATUS has no container; its failure is told in words", async (t) => {
  const { runtime, bin } = await stand(t);
  assert.equal(await runtime.status(), undefined);
  const env = environment(bin, "0.STATUS.first");
  assert.deepEqual(
    Object.keys(env)
      .filter((key) => key.startsWith("CNI_"))
      .sort(),
    ["CNI_COMMAND", "CNI_PATH"],
  );
  writeFileSync(`${bin}/STATUS.second.fail`, "");
  assert.match((await runtime.status()) ?? "", /failed with code 11: told to fail/);
  rmSync(`${bin}/../net.d`, { recursive: true });
  assert.match((await runtime.status()) ?? "", /no network configuration/);
});

void test("disableCheck is obeyed, in both spellings; a plugin that is not installed is named", async (t) => {
  for (const disableCheck of [true, "true"]) {
    const { runtime, bin } = await stand(t, { disableCheck });
    await runtime.add("p");
    await assert.rejects(runtime.check("p"), /has CHECK disabled/);
    assert.equal(calls(bin).length, 2);
  }
  const { runtime } = await stand(t, { plugins: [{ type: "absent" }] });
  await assert.rejects(runtime.add("p"), /plugin absent is not in/);
});

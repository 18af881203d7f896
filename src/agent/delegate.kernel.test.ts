// Another plugin as our IPAM: called with what we were given, obeyed, and undone where anything fails. The plugin here is a script.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { type TestContext, test } from "node:test";
import { type CniCall, reaped, startTestAgent, type TestAgent } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";

/** Notes each call, then prints and ends as the files beside it say. */
const script = `#!/bin/sh
here=$(dirname "$0")
{ echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $CNI_PATH"; } >>"$here/calls"
cat >"$here/stdin.$CNI_COMMAND"
[ ! -e "$here/answer.$CNI_COMMAND" ] || cat "$here/answer.$CNI_COMMAND"
[ ! -e "$here/fails.$CNI_COMMAND" ]
`;

interface Stand {
  agent: TestAgent;
  call(
    verb: string,
    options?: { netns?: string; containerId?: string; more?: object; path?: string },
  ): Promise<CniCall>;
  answer(verb: string, value: unknown): void;
  fail(verb: string, fails: boolean): void;
  calls(): string[];
  stdin(verb: string): unknown;
  /** Where the plugin lies. */
  bin: string;
}

async function stand(t: TestContext): Promise<Stand> {
  const agent = await startTestAgent(t);
  const bin = mkdtempSync(join(tmpdir(), "fairlead-delegate-"));
  t.after(() => rmSync(bin, { recursive: true }));
  writeFileSync(join(bin, "chooser"), script, { mode: 0o755 });
  const config = { ipam: { type: "chooser", anything: [1] } };
  const answer = (verb: string, value: unknown): void =>
    writeFileSync(join(bin, `answer.${verb}`), JSON.stringify(value));
  answer("ADD", {
    cniVersion: "1.1.0",
    ips: [{ address: "192.168.9.5/24", gateway: "192.168.9.1" }, { address: "fd00:9::5/64" }],
    routes: [{ dst: "0.0.0.0/0" }, { dst: "10.99.0.0/16", gw: "192.168.9.1" }],
    dns: { nameservers: ["192.168.9.1"] },
  });
  return {
    agent,
    bin,
    call: (verb, { netns = "", containerId = "c1", more = {}, path = `/nowhere:${bin}` } = {}) =>
      agent.cni(verb, { containerId, netns, config: { ...config, ...more }, env: { CNI_PATH: path } }),
    answer,
    fail: (verb, fails) => {
      if (fails) writeFileSync(join(bin, `fails.${verb}`), "");
      else rmSync(join(bin, `fails.${verb}`), { force: true });
    },
    calls: () => {
      const file = join(bin, "calls");
      const lines = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
      rmSync(file, { force: true });
      return lines;
    },
    stdin: (verb) => JSON.parse(readFileSync(join(bin, `stdin.${verb}`), "utf8")),
  };
}

const errorOf = ({ stdout }: CniCall): { code: number; msg: string } =>
  JSON.parse(stdout) as { code: number; msg: string };

test("the plugin's addresses, routes and dns become the pod's; every verb reaches it as it came", async (t) => {
  const { agent, bin, call, calls, stdin } = await stand(t);
  const pod = makeNetns(t);
  const added = await call("ADD", { netns: pod.path });
  assert.equal(added.exitCode, 0, added.stdout);
  const result = JSON.parse(added.stdout) as Record<string, unknown>;
  assert.deepEqual(result["ips"], [
    { interface: 1, address: "192.168.9.5/24", gateway: "192.168.9.1" },
    { interface: 1, address: "fd00:9::5/64", gateway: "fe80::1" },
  ]);
  assert.deepEqual(result["routes"], [
    { dst: "0.0.0.0/0", gw: "192.168.9.1" },
    { dst: "10.99.0.0/16", gw: "192.168.9.1" },
    { dst: "::/0", gw: "fe80::1" },
  ]);
  assert.deepEqual(result["dns"], { nameservers: ["192.168.9.1"] });
  assert.match(pod.run("ip", "route"), /10\.99\.0\.0\/16 via 192\.168\.9\.1 dev eth0 .*src 192\.168\.9\.5/);
  for (const address of ["192.168.9.5", "fd00:9::5"]) agent.node.run("ping", "-c1", "-W5", address);
  assert.deepEqual(calls(), [`ADD c1 eth0 ${pod.path} /nowhere:${bin}`]);
  assert.deepEqual(stdin("ADD"), {
    cniVersion: "1.1.0",
    name: "fairlead",
    type: "fairlead-cni",
    ipam: { type: "chooser", anything: [1] },
  });
  for (const verb of ["CHECK", "STATUS", "GC"]) {
    const more = { prevResult: result, "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] };
    assert.deepEqual(await call(verb, { netns: pod.path, more }), { exitCode: 0, stdout: "", stderr: "" }, verb);
    assert.equal(calls()[0]?.split(" ")[0], verb);
  }
  assert.equal((await call("DEL", { netns: pod.path })).exitCode, 0);
  assert.equal(calls()[0]?.split(" ")[0], "DEL");
  await reaped(agent);
});

test("a failure of the plugin is told in its own words and with its own code, and it gets DEL", async (t) => {
  const { call, calls, answer, fail } = await stand(t);
  const pod = makeNetns(t);
  answer("ADD", { cniVersion: "1.1.0", code: 11, msg: "no more room", details: "in 192.168.9.0/24" });
  fail("ADD", true);
  const { code, msg } = errorOf(await call("ADD", { netns: pod.path }));
  assert.equal(code, 11);
  assert.match(msg, /IPAM plugin chooser: ADD failed: no more room: in 192\.168\.9\.0\/24/);
  assert.deepEqual(
    calls().map((line) => line.split(" ")[0]),
    ["ADD", "DEL"],
  );
  for (const verb of ["CHECK", "STATUS", "GC", "DEL"]) {
    answer(verb, { code: 77, msg: `${verb} is not well` });
    fail(verb, true);
  }
  assert.equal(errorOf(await call("STATUS")).code, 77);
  assert.match(errorOf(await call("GC", { more: { "cni.dev/valid-attachments": [] } })).msg, /GC is not well/);
  assert.match(errorOf(await call("DEL", { netns: pod.path })).msg, /DEL is not well/);
});

test("an answer that cannot be used fails ADD, with DEL for the plugin and nothing left", async (t) => {
  const { agent, call, calls, answer } = await stand(t);
  const pod = makeNetns(t);
  const cases: [unknown, RegExp][] = [
    [{ ips: [] }, /gave no address/],
    [{ ips: [{ address: "192.168.9.5" }] }, /must be an address with its prefix length/],
    [{ ips: [{ address: "127.0.0.1/8" }] }, /127\.0\.0\.1/],
    [{ ips: [{ address: "192.168.9.5/24" }, { address: "192.168.9.5/24" }] }, /one address twice/],
    [{ ips: [{ address: "192.168.9.5/24", gateway: "192.168.9.5" }] }, /both an address and the gateway/],
    [{ ips: [{ address: "192.168.9.5/24", gateway: "fd00::1" }] }, /of the other family/],
    ["text", /must be a JSON object/],
  ];
  for (const [value, words] of cases) {
    answer("ADD", value);
    assert.match(errorOf(await call("ADD", { netns: pod.path })).msg, words);
    assert.equal(calls().at(-1)?.split(" ")[0], "DEL", String(words));
  }
  assert.doesNotMatch(agent.node.run("ip", "link"), /\bfl[0-9a-f]{13}/);
});

test("a later step that fails gives the addresses back", async (t) => {
  const { call, calls } = await stand(t);
  const pod = makeNetns(t);
  pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other");
  assert.equal(errorOf(await call("ADD", { netns: pod.path })).code, 100);
  assert.deepEqual(
    calls().map((line) => line.split(" ")[0]),
    ["ADD", "DEL"],
  );
});

test("a plugin that is not there, or may not run, is named; so is a CNI_PATH that is missing", async (t) => {
  const { call, bin } = await stand(t);
  const pod = makeNetns(t);
  assert.match(
    errorOf(await call("ADD", { netns: pod.path, path: "/nowhere" })).msg,
    /chooser is on no directory of CNI_PATH \(\/nowhere\)/,
  );
  // Our working directory is not the caller's.
  const elsewhere = await call("ADD", { netns: pod.path, path: relative(process.cwd(), bin) });
  assert.match(errorOf(elsewhere).msg, /chooser is on no directory of CNI_PATH/);
  writeFileSync(join(bin, "plain"), "", { mode: 0o644 });
  const plain = await call("ADD", { netns: pod.path, more: { ipam: { type: "plain" } } });
  assert.match(errorOf(plain).msg, /plain may not be executed/);
  assert.equal(errorOf(await call("ADD", { netns: pod.path, path: "" })).code, 4);
  const outside = await call("ADD", { netns: pod.path, more: { ipam: { type: "../x" } } });
  assert.equal(errorOf(outside).code, 7);
});

test("a pod that GC removes, whose DEL came while no agent ran, or that was never known: the plugin gets DEL", async (t) => {
  const { agent, call, calls } = await stand(t);
  const pods = [makeNetns(t), makeNetns(t)];
  for (const [index, pod] of pods.entries()) await call("ADD", { netns: pod.path, containerId: `c${index}` });
  calls();
  await agent.cni("GC", { config: { "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] } });
  assert.equal(calls()[0]?.startsWith("DEL c0 eth0"), true);
  await agent.stop();
  assert.equal((await call("DEL", { containerId: "c1", netns: pods[1]?.path ?? "" })).exitCode, 0);
  assert.equal((await call("DEL", { containerId: "unknown" })).exitCode, 0);
  assert.deepEqual(calls(), []);
  await agent.start();
  const seen: string[] = [];
  await until("the release files are applied", () => {
    seen.push(...calls());
    return seen.length > 1;
  });
  assert.equal(seen[0]?.startsWith("DEL c1 eth0"), true);
  assert.equal(seen[1]?.startsWith("DEL unknown eth0"), true);
  assert.equal((await call("DEL", { containerId: "never" })).exitCode, 0);
  assert.equal(calls()[0]?.startsWith("DEL never eth0"), true);
});

// The tool's answers: tables for people, JSON for programs, and one clear sentence where there is no agent or no usable answer.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isFault } from "../base/fault.ts";
import { formatAge } from "./age.ts";
import { showPods } from "./pods.ts";
import { showStatus } from "./status.ts";

async function agentThatSays(t: TestContext, answers: Record<string, unknown>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-cli-"));
  const socket = join(directory, "status.sock");
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? ""];
    response.writeHead(answer === undefined ? 404 : 200);
    response.end(typeof answer === "string" ? answer : JSON.stringify(answer));
  });
  await new Promise<void>((done) => server.listen(socket, done));
  t.after(() => {
    server.close();
    server.closeAllConnections();
    rmSync(directory, { recursive: true });
  });
  return socket;
}

const status = {
  node: "node-1",
  version: "0.1.0",
  upSeconds: 3700,
  uplink: { name: "eth0", mtu: 1500, addresses: ["172.30.0.11", "fd00:30::11"] },
  blocks: ["10.4.1.0/24", "fd00:4:1::/64"],
  addresses: [
    { family: 4, total: "254", live: 2, cooling: 1 },
    { family: 6, total: "18446744073709551615", live: 2, cooling: 1 },
  ],
  attachments: { ready: 2, planned: 0 },
  calls: { working: 0, waiting: 0 },
  loops: [
    { name: "reaper", passes: 9, failures: 0 },
    { name: "guard", passes: 4, failures: 2, lastError: "no" },
  ],
};

const pod = {
  network: "fairlead",
  containerId: "0123456789abcdef",
  ifname: "eth0",
  addresses: ["10.4.1.1", "fd00:4:1::1"],
  netnsPath: "/run/netns/p",
  wire: { hostLink: "fl0123456789abc" },
  state: "ready",
  createdMs: 0,
};

test("status for people and for programs", async (t) => {
  const socket = await agentThatSays(t, { "/status": status });
  assert.equal(
    await showStatus({ socket, output: "table" }),
    [
      "node node-1, fairlead 0.1.0, up 1h1m",
      "uplink eth0, MTU 1500, 172.30.0.11 fd00:30::11",
      "2 attachments ready, 0 in the making; 0 calls at work, 0 waiting",
      "",
      "FAMILY   BLOCKS          ADDRESSES    IN USE   COOLING",
      "IPv4     10.4.1.0/24     254          2        1",
      "IPv6     fd00:4:1::/64   about 2^64   2        1",
      "",
      "LOOP     PASSES   FAILING   LAST ERROR",
      "reaper   9        no",
      "guard    4        2 times   no",
    ].join("\n"),
  );
  assert.deepEqual(JSON.parse(await showStatus({ socket, output: "json" })), status);
});

test("status tells by whose word pods are judged, and of each class what judges it", async (t) => {
  const layer = { direction: "ingress", kind: "groups", objects: ["SecurityGroup api", "SecurityGroup db"] };
  const classes = [
    { number: 100, pods: 3, layers: [] },
    { number: 101, pods: 2, layers: [{ ...layer, otherwise: "audit" }] },
  ];
  const told = async (by: string): Promise<string> => {
    const socket = await agentThatSays(t, { "/status": { ...status, policy: { by, classes } } });
    return showStatus({ socket, output: "table" });
  };
  const text = await told("cluster");
  assert.match(text, /CLASS +PODS +EGRESS +INGRESS\n100 +3 +open +open\n/);
  assert.match(text, /\n101 +2 +open +SecurityGroup api \+ SecurityGroup db \(audit\)\n/);
  assert.doesNotMatch(text, /kept|not known/);
  assert.match(await told("kept"), /policy is as it was kept/);
  assert.match(await told("nobody"), /not known yet who may talk to whom/);
});

test("pods, with and without Kubernetes names, and none", async (t) => {
  const named = { ...pod, pod: { namespace: "default", name: "web", uid: "u" } };
  const socket = await agentThatSays(t, { "/pods": [pod, named] });
  const [, first, second] = (await showPods({ socket, output: "table" })).split("\n");
  assert.match(first ?? "", /^- +0123456789ab +eth0 +10\.4\.1\.1 fd00:4:1::1 +fl0123456789abc +ready +\d+d/);
  assert.match(second ?? "", /^default\/web /);
  const empty = await agentThatSays(t, { "/pods": [] });
  assert.equal(await showPods({ socket: empty, output: "table" }), "no pods are attached on this node");
  assert.equal(await showPods({ socket: empty, output: "json" }), "[]");
});

test("no agent, a dead socket, nonsense and another version's shape are one clear fault each", async (t) => {
  const nowhere = join(tmpdir(), "fairlead-no-such-directory", "status.sock");
  const ask = (socket: string): Promise<string> => showStatus({ socket, output: "table" });
  await assert.rejects(ask(nowhere), (error) => isFault(error, "not-found") && error.message.includes(nowhere));
  const directory = mkdtempSync(join(tmpdir(), "fairlead-cli-"));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "file"), "");
  await assert.rejects(ask(join(directory, "file")), /no agent answers at .*--socket/);
  await assert.rejects(ask(await agentThatSays(t, {})), /gave no usable answer for \/status/);
  await assert.rejects(ask(await agentThatSays(t, { "/status": "not JSON" })), /gave no usable answer/);
  const newer = await agentThatSays(t, { "/status": { ...status, uplink: "eth0" } });
  await assert.rejects(ask(newer), /unknown shape; are agent and tool of one version/);
});

test("ages", () => {
  const cases: [number, string][] = [
    [-5, "0s"],
    [0.4, "0s"],
    [59, "59s"],
    [60, "1m"],
    [3599, "59m"],
    [3600, "1h"],
    [12_000, "3h20m"],
    [86_400, "1d"],
    [450_000, "5d5h"],
  ];
  for (const [seconds, text] of cases) assert.equal(formatAge(seconds), text);
});

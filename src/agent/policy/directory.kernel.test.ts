// Two nodes without Kubernetes: what the files of a directory say holds in both kernels, as `fairlead why --from-files` has it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startTestAgent, type TestAgent } from "../../../test/agent.ts";
import { makeNetns, type TestNetns } from "../../../test/netns.ts";
import { until } from "../../../test/until.ts";
import { createLog } from "../../base/log.ts";
import { askAgent } from "../../cli/agent-client.ts";
import { showWhy } from "../../cli/why.ts";
import { statusSocket } from "../status.ts";

const ports = [5432, 80] as const;
/** What is tried between all pods, as `fairlead why` names it. */
const traffic = [...ports.map((port) => `${port}/tcp`), "80/udp", "icmp"] as const;

interface StandalonePod {
  name: string;
  netns: TestNetns;
  addresses: readonly string[];
}

/** Two nodes that are told by one directory, with their uplinks on one wire. */
async function twoNodes(t: TestContext): Promise<{ directory: string; nodes: readonly TestAgent[] }> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-policy-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  put(directory, "pods.yaml", pods);
  put(directory, "policies.yaml", policies);
  const start = (number: 1 | 2): Promise<TestAgent> => {
    const other = 3 - number;
    return startTestAgent(t, {
      host: 10 + number,
      blocks: [`10.4.${number}.0/24`, `fd00:10:4:${number}::/64`],
      routes: [
        { to: `10.4.${other}.0/24`, via: `172.30.0.1${other}` },
        { to: `fd00:10:4:${other}::/64`, via: `fd00:30::1${other}` },
      ],
      settings: { node: { name: `node-${number}` }, policy: { directory } },
      audited: false, // it knows policy of clusters alone
    });
  };
  const [one, two] = [await start(1), await start(2)];
  two.node.run("ip", "link", "set", "wire", "down");
  two.node.run("ip", "link", "set", "wire", "name", "wire2", "netns", one.node.name);
  one.node.run("ip", "link", "add", "segment", "type", "bridge");
  for (const port of ["wire", "wire2"]) one.node.run("ip", "link", "set", port, "up", "master", "segment");
  one.node.run("ip", "link", "set", "segment", "up");
  return { directory, nodes: [one, two] };
}

/** By rename, as a careful writer does it. */
function put(directory: string, name: string, text: string): void {
  const draft = join(directory, `.${name}.new`);
  writeFileSync(draft, text);
  renameSync(draft, join(directory, name));
}

const pod = (name: string, node: number, host: number): string => `
---
kind: Pod
apiVersion: v1
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { nodeName: node-${node} }
status: { podIPs: [{ ip: 10.4.${node}.${host} }, { ip: "fd00:10:4:${node}::${host}" }] }`;
const pods = [pod("web", 1, 11), pod("cron", 1, 12), pod("db", 2, 11), pod("cache", 2, 12)].join("\n");
const policies = `
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress: [{ ports: [{ port: 5432 }], from: [{ podSelector: { matchLabels: { app: web } } }] }]
---
kind: SecurityGroup
apiVersion: fairlead.dev/v1alpha1
metadata: { name: inside }
spec:
  bindableFrom: {}
  ingress:
    - { protocol: tcp, ports: [{ port: 80 }], from: [{ securityGroup: inside }] }
    - { protocol: udp, ports: [{ port: 80 }], from: [{ securityGroup: inside }] }
    - { protocol: icmpv6, icmp: { type: 128 }, from: [{ securityGroup: inside }] }
---
kind: SecurityGroupBinding
apiVersion: fairlead.dev/v1alpha1
metadata: { name: inside, namespace: shop }
spec: { podSelector: { matchExpressions: [{ key: app, operator: In, values: [cron, cache] }] }, groups: [inside] }
`;

/** Attaches a pod of the files, at the addresses that they have for it, and lets it listen. */
async function addPod(
  t: TestContext,
  agent: TestAgent,
  name: string,
  addresses: readonly string[],
): Promise<StandalonePod> {
  const netns = makeNetns(t);
  const env = { CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${name}` };
  const config = { runtimeConfig: { ips: addresses } };
  const { ips } = await agent.add({ containerId: name, netns: netns.path, env, config });
  assert.deepEqual(
    ips.map(({ address }) => address.split("/")[0]),
    addresses,
  );
  const server = `${ports.map((port) => `require("node:net").createServer((one) => one.end()).listen(${port}, "::", ready);`).join("")}
    const udp = require("node:dgram").createSocket("udp6");
    udp.on("message", (data, { port, address }) => udp.send(data, port, address)).bind(80, ready);
    let up = 0; function ready() { up += 1; if (up === ${ports.length + 1}) console.log("ready"); }`;
  const child = spawn("ip", ["netns", "exec", netns.name, process.execPath, "-e", server], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return { name, netns, addresses };
}

/** What a pod runs to try one address: gives whether an answer came. */
const client = `
  const reaches = {
    tcp: (host, port, done) => require("node:net").connect({ host, port, timeout: 1500 })
      .on("connect", function () { this.destroy(); done(true); }).on("timeout", function () { this.destroy(); }).on("error", () => {}),
    udp: (host, port, done) => {
      // What is denied is not answered: that is all there is to see of it.
      const type = host.includes(":") ? "udp6" : "udp4";
      const socket = require("node:dgram").createSocket({ type, signal: AbortSignal.timeout(1500) });
      socket.on("message", () => { done(true); socket.close(); }).on("error", () => {}).send("x", port, host);
    },
    icmp: (host, _, done) => require("node:child_process").execFile("ping", ["-c", "1", "-W", "2", host], (error) => done(error === null)),
  };
  for (const [what, host, traffic] of JSON.parse(process.argv[1])) {
    const [first, second] = traffic.split("/");
    reaches[second ?? first](host, Number(first), (does) => does && console.log(what));
  }`;

/** Tries all traffic with every other pod at once: "web db 5432/tcp 4" of what is answered. */
async function connects(from: StandalonePod, all: readonly StandalonePod[]): Promise<string[]> {
  const tries = all
    .filter(({ name }) => name !== from.name)
    .flatMap(({ name, addresses }) =>
      traffic.flatMap((what) =>
        addresses.map((address, at) => [`${from.name} ${name} ${what} ${at === 0 ? 4 : 6}`, address, what] as const),
      ),
    );
  const words = ["netns", "exec", from.netns.name, process.execPath, "-e", client, JSON.stringify(tries)];
  const child = spawn("ip", words, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (more: string) => (text += more));
  await once(child, "close");
  return text.trim().split("\n").filter(Boolean);
}

const reachedBy = async (all: readonly StandalonePod[]): Promise<string[]> =>
  (await Promise.all(all.map((one) => connects(one, all)))).flat().sort();

/** The same by the files alone. */
async function reachedByFiles(directory: string, all: readonly StandalonePod[]): Promise<string[]> {
  const found: string[] = [];
  for (const from of all) {
    for (const to of all) {
      for (const what of from === to ? [] : traffic) {
        const asked = { from: `shop/${from.name}`, to: `shop/${to.name}`, traffic: what, files: [directory] };
        const { text } = await showWhy(() => Promise.reject(new Error("there is no cluster")), {
          ...asked,
          output: "json",
        });
        const answers = text.split("\n").map((line) => JSON.parse(line) as { passes: boolean; family: number });
        for (const { passes, family } of answers) if (passes) found.push(`${from.name} ${to.name} ${what} ${family}`);
      }
    }
  }
  return found.sort();
}

void test("two nodes judge as the files say, follow them, and keep the last good ones", async (t) => {
  const { directory, nodes } = await twoNodes(t);
  const [one, two] = nodes;
  assert.ok(one !== undefined && two !== undefined);
  const all = [
    await addPod(t, one, "web", ["10.4.1.11", "fd00:10:4:1::11"]),
    await addPod(t, one, "cron", ["10.4.1.12", "fd00:10:4:1::12"]),
    await addPod(t, two, "db", ["10.4.2.11", "fd00:10:4:2::11"]),
    await addPod(t, two, "cache", ["10.4.2.12", "fd00:10:4:2::12"]),
  ];
  const agree = async (what: string): Promise<string[]> => {
    const wanted = await reachedByFiles(directory, all);
    let found: string[] = [];
    await until(`${what}: kernels and files agree`, async () => {
      found = await reachedBy(all);
      return found.join() === wanted.join();
    }).catch(() => assert.deepEqual(found, wanted, what));
    return found;
  };
  const first = await agree("as it began");
  assert.ok(first.includes("web db 5432/tcp 6") && first.includes("cron cache 80/tcp 4"), first.join());
  assert.ok(first.includes("cron cache 80/udp 6") && first.includes("cron cache icmp 6"), first.join());
  assert.ok(!first.includes("cron cache icmp 4") && !first.includes("web db 80/udp 4"), first.join());
  assert.ok(!first.includes("cron db 5432/tcp 4") && !first.includes("web cron 80/tcp 4"), first.join());
  // An edit.
  put(directory, "policies.yaml", policies.replace("app: web } }", "app: cron } }"));
  const second = await agree("after an edit");
  assert.ok(second.includes("cron db 5432/tcp 4") && !second.includes("web db 5432/tcp 4"), second.join());
  // What cannot be read opens nothing, and a restart in between neither.
  for (const broken of ["kind: [", "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata: {}"]) {
    put(directory, "policies.yaml", broken);
    await until("it is reported", async () => (await findings(one)).includes("policies.yaml"));
    assert.deepEqual(await reachedBy(all), second);
  }
  await one.stop();
  await one.start();
  assert.deepEqual(await reachedBy(all), second);
  rmSync(join(directory, "policies.yaml"));
  rmSync(join(directory, "pods.yaml"));
  await until("an emptied directory is reported", async () => /is empty now|not read/.test(await findings(two)));
  assert.deepEqual(await reachedBy(all), second);
  put(directory, "pods.yaml", pods);
  await agree("with pods alone, which opens all");
});

async function findings({ config }: TestAgent): Promise<string> {
  return JSON.stringify(await askAgent(statusSocket(config.paths.socket), "/check"));
}

void test("a sandbox without a name is judged by the labels that its caller gives; addresses of the files are nobody's by chance", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-policy-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  put(directory, "all.yaml", `${pod("web", 1, 2)}\n---\n${closed}`);
  const settings = { policy: { directory } };
  const agent = await startTestAgent(t, { settings, audited: false });
  const add = async (containerId: string, labels: Record<string, string>): Promise<StandalonePod> => {
    const netns = makeNetns(t);
    const list = Object.entries(labels).map(([key, value]) => ({ key, value }));
    const { ips } = await agent.add({ containerId, netns: netns.path, config: { args: { cni: { labels: list } } } });
    return { name: containerId, netns, addresses: ips.map(({ address }) => address.split("/")[0] ?? "") };
  };
  const [open, shut] = [await add("open", {}), await add("shut", { app: "shut" })];
  // The first address of the block is that of the file's pod.
  assert.deepEqual([open.addresses[0], shut.addresses[0]], ["10.4.1.3", "10.4.1.4"]);
  const pings = (from: StandalonePod, to: StandalonePod): boolean => {
    try {
      from.netns.run("ping", "-c", "1", "-W", "0.3", to.addresses[0] ?? "");
      return true;
    } catch {
      return false;
    }
  };
  assert.deepEqual([pings(open, shut), pings(shut, open)], [false, true]);
  await agent.stop();
  // As a kill right after ADD leaves it: nobody says the labels again.
  rmSync(join(agent.config.paths.state, "policy.json"));
  await agent.start();
  assert.deepEqual([pings(open, shut), pings(shut, open)], [false, true], "over a restart");
  put(directory, "more.yaml", closed.replaceAll("shut", "more").replace("{ matchLabels: { app: more } }", "{}"));
  await until("an edit is followed", () => !pings(shut, open));
});

void test("a start reads the directory, and has nothing to complain of", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-policy-"));
  const lines = mkdtempSync(join(tmpdir(), "fairlead-log-"));
  const fd = openSync(join(lines, "log"), "a");
  put(directory, "all.yaml", closed);
  const log = createLog("fairlead-agent", { fd });
  await startTestAgent(t, { log, settings: { policy: { directory } }, audited: false });
  t.after(() => {
    closeSync(fd);
    for (const one of [directory, lines]) rmSync(one, { recursive: true, force: true });
  });
  const told = readFileSync(join(lines, "log"), "utf8");
  assert.match(told, /"level":"info"/);
  assert.doesNotMatch(told, /"level":"(warn|error)"/);
});

const closed = `
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: { name: shut, namespace: default }
spec: { podSelector: { matchLabels: { app: shut } }, ingress: [], policyTypes: [Ingress] }
`;

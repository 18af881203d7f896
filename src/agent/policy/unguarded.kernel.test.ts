// Pods that leave the source guard with real packets: where their namespace lets them, at once, over restarts, and no longer than it does.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { ClusterAgent } from "../../../test/cluster-agent.ts";
import { runIn } from "../../../test/masq-stage.ts";
import { addPod, reached, servingAgent, type TestPod } from "../../../test/policy-node.ts";
import { openRaw, packet, protocols, udpDatagram } from "../../../test/raw-packets.ts";
import { until } from "../../../test/until.ts";
import { pods } from "../../kube/core-objects.ts";
import { namespaces, networkPolicies } from "../../kube/policy-objects.ts";
import { sourceGuardAnnotation } from "../../policy/source-guard.ts";

const annotated = (text: string | null): { type: "merge"; body: object } => ({
  type: "merge",
  body: { metadata: { annotations: { [sourceGuardAnnotation]: text } } },
});
const backWithinMs = 5_000;

/** An address of another machine, that the pod sends from as well: the node routes answers to it. */
const foreign = "198.51.100.7";
const foreign6 = "2001:db8:7::7";

/** The pod has two addresses more, and the node sends to them by the pod's link. */
function giveForeign({ node }: ClusterAgent, { netns, addresses }: TestPod): void {
  netns.run("ip", "address", "add", foreign, "dev", "eth0");
  netns.run("ip", "address", "add", foreign6, "dev", "eth0", "nodad");
  for (const [index, address] of [foreign, foreign6].entries()) {
    const via = addresses[index] ?? "";
    const link = /dev (fl[0-9a-f]+)/.exec(node.run("ip", "route", "get", via))?.[1] ?? assert.fail(via);
    if (index === 0) node.run("ip", "route", "add", address, "via", via, "dev", link, "onlink");
    else node.run("ip", "-6", "route", "add", address, "via", via, "dev", link, "onlink");
  }
}

/** True where an echo request from the foreign address is answered. */
function sendsForeign(from: TestPod, to: TestPod, family: 0 | 1): boolean {
  try {
    const source = [foreign, foreign6][family] ?? "";
    from.netns.run("ping", "-c", "1", "-W", "0.3", "-I", source, to.addresses[family] ?? "");
    return true;
  } catch {
    return false;
  }
}
const both = (from: TestPod, to: TestPod): boolean[] => [sendsForeign(from, to, 0), sendsForeign(from, to, 1)];

/** Requests of a pinging that are enough. */
const requestsMin = 10;

/** Sends from the foreign address twenty times a second; gives what ends it once it has sent enough, and how many were not answered. */
function pinging(from: TestPod, to: TestPod): () => Promise<number> {
  const words = ["netns", "exec", from.netns.name, "ping", "-i", "0.05", "-I", foreign, to.addresses[0] ?? ""];
  const child = spawn("ip", words, { stdio: ["ignore", "pipe", "inherit"] });
  let sequence = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    for (const [, number] of chunk.toString().matchAll(/icmp_seq=(\d+)/g)) sequence = Number(number);
  });
  const told = text(child.stdout);
  return async () => {
    await until("enough was sent, and the last of it answered", () => sequence >= requestsMin);
    child.kill("SIGINT");
    const [, sent = "0", received = "0"] = /(\d+) packets transmitted, (\d+) received/.exec(await told) ?? [];
    return Number(sent) - Number(received);
  };
}

async function checks({ cni }: ClusterAgent, { name, netns, uid, addresses }: TestPod): Promise<string> {
  const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=${uid}`;
  const ips = addresses.map((address) => ({ address: `${address}/${address.includes(":") ? 128 : 32}` }));
  const prevResult = { cniVersion: "1.1.0", ips };
  const { stdout } = await cni("CHECK", {
    containerId: name,
    netns: netns.path,
    env: { CNI_ARGS: args },
    config: { prevResult },
  });
  return stdout;
}

void test("a pod leaves the guard where pod and namespace say so, is back within a second where one no longer does, and CHECK agrees", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const vpn = await addPod(t, agent, "vpn", { app: "vpn" });
  const web = await addPod(t, agent, "web", { app: "web" });
  giveForeign(agent, vpn);
  const podRef = { namespace: "default", name: "vpn" };
  await kube.patch(pods, podRef, annotated("off"));
  await until("the wish is heard, and counts for nothing", async () =>
    /counts only where Namespace default has the same annotation/.test(JSON.stringify(await agent.ask("/check"))),
  );
  assert.deepEqual(both(vpn, web), [false, false]);

  await kube.patch(namespaces, { name: "default" }, annotated("per-pod"));
  await until("it may send from any address", () => both(vpn, web).every(Boolean));
  assert.equal(await checks(agent, vpn), "");
  assert.equal(await checks(agent, web), "");

  agent.node.run("nft", "delete", "table", "inet", "fairlead");
  await until(
    "the guard is back, as it was",
    () => /"fl/.test(agent.node.run("nft", "list", "ruleset")) && both(vpn, web).every(Boolean),
  );

  const lost = pinging(vpn, web);
  await agent.stop();
  const { serving } = agent.start();
  await serving;
  assert.deepEqual(both(vpn, web), [true, true], "the next agent leaves it so");
  assert.equal(await lost(), 0, "requests without an answer while agents changed");

  await kube.patch(namespaces, { name: "default" }, annotated(null));
  const startedMs = performance.now();
  await until("it is guarded again", () => !sendsForeign(vpn, web, 0));
  const tookMs = Math.round(performance.now() - startedMs);
  t.diagnostic(`guarded again after ${tookMs} ms`);
  assert.ok(tookMs < backWithinMs, `guarded again after ${tookMs} ms`);
  assert.deepEqual(both(vpn, web), [false, false]);
  assert.equal(await checks(agent, vpn), "");
});

const [ownPort, closedPort, openPort] = [40_000, 40_001, 40_002];

/** Says of each datagram which port it came to, and by which family. */
const listener = `
import select, socket
socks = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2)]
for sock, port in zip(socks, (${closedPort}, ${openPort})):
    sock.bind(("::", port))
print("ready", flush=True)
while True:
    for sock in select.select(socks, [], [])[0]:
        _, (address, *_) = sock.recvfrom(64)
        print(sock.getsockname()[1], 4 if address.startswith("::ffff:") else 6, flush=True)
`;

const openPortOnly = networkPolicies.parse({
  metadata: { namespace: "default", name: "out" },
  spec: {
    podSelector: { matchLabels: { app: "vpn" } },
    policyTypes: ["Egress"],
    egress: [{ ports: [{ protocol: "UDP", port: openPort }] }],
  },
});

void test("a pod outside the guard gets round no policy by what it sends itself from forged addresses; guarded again it reaches itself", async (t) => {
  const agent = await servingAgent(t);
  const { kube, node } = agent;
  const vpn = await addPod(t, agent, "vpn", { app: "vpn" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await kube.create(networkPolicies, openPortOnly);
  await until("its egress is closed", () => !reached(vpn, web).some(Boolean));
  const link = /dev (fl[0-9a-f]+)/.exec(node.run("ip", "route", "get", vpn.addresses[0] ?? ""))?.[1] ?? assert.fail();
  // Of a set of links alone, nft prints no names.
  const isOpen = (): boolean => node.run("nft", "list", "set", "inet", "fairlead", "any").includes("elements");
  const reachesItself = (): boolean =>
    node.run("nft", "list", "set", "inet", "fairlead-policy", "self").includes(`"${link}"`);
  assert.deepEqual([isOpen(), reachesItself()], [false, true]);
  await kube.patch(pods, { namespace: "default", name: "vpn" }, annotated("off"));
  await kube.patch(namespaces, { name: "default" }, annotated("per-pod"));
  await until("it may send from any address", isOpen);

  const { hear } = await runIn(t, web.netns, listener);
  const send = await openRaw(t, vpn.netns);
  for (const [index, family] of [4, 6].entries()) {
    const [own, its] = [vpn.addresses[index] ?? "", web.addresses[index] ?? ""];
    const udp = (ends: { from: string; to: string }, source: number, target: number): Buffer =>
      packet(ends, protocols.udp, udpDatagram(ends, source, target, 8));
    // By its link all of them, whatever its own routes say of its own address.
    await send(its, [
      udp({ from: its, to: own }, closedPort, ownPort),
      udp({ from: own, to: its }, ownPort, closedPort),
      udp({ from: own, to: its }, ownPort, openPort),
    ]);
    assert.equal(await hear(), `${openPort} ${family}`, "an answer to what nobody asked");
  }
  assert.equal(reachesItself(), false);

  await kube.patch(namespaces, { name: "default" }, annotated(null));
  await until("it is guarded, and reaches itself", () => !isOpen() && reachesItself());
});

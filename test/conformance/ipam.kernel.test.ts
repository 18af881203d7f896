// Conformance 13: Fairlead as another plugin's IPAM: it only keeps addresses, makes no link, and answers in the shape that main plugins read.

import assert from "node:assert/strict";
import { test } from "node:test";
import { linksIn, podTraces, stateOf, v4Of } from "./eyes.ts";
import { type CallChange, fileScope, type Pod, type Scope, startNode, type TestNode } from "./node.ts";
import { documentOf, type Outcome, refused, type ResultIp, silent } from "./runtime.ts";

const node = await startNode(fileScope);

/** The configuration of a main plugin that has us as its IPAM, as it hands it on. */
const asIpam = (more: Record<string, unknown> = {}, type = "bridge"): CallChange => ({
  conf: { name: "bridged", type, bridge: "cni0", ipam: { type: "fairlead-cni" }, ...more },
});

interface IpamResult {
  cniVersion: string;
  ips: ResultIp[];
  routes?: { dst: string; gw?: string }[];
  [more: string]: unknown;
}

const addresses = (result: IpamResult): string[] => result.ips.map(({ address }) => address);

/** ADD as IPAM; in each version the answer has no interfaces, and the pod has none either. */
async function ipamAdd(on: TestNode, pod: Pod, more: Record<string, unknown> = {}, type?: string): Promise<IpamResult> {
  const result = documentOf(await on.call("ADD", pod, asIpam(more, type))) as { [more: string]: unknown } & IpamResult;
  assert.deepEqual(result["interfaces"] ?? [], []);
  for (const ip of result.ips ?? []) assert.ok(!("interface" in ip), JSON.stringify(ip));
  assert.deepEqual(
    linksIn(pod.ns).map(({ ifname }) => ifname),
    ["lo"],
  );
  return result;
}

/** Asks for addresses until there are none; gives the pods that have one, and how the next was refused. */
async function filled(on: TestNode, t: Scope): Promise<{ pods: Pod[]; refusal: Outcome }> {
  const pods: Pod[] = [];
  for (let times = 0; times < 8; times += 1) {
    const pod = on.pod(t);
    const outcome = await on.call("ADD", pod, asIpam());
    if (outcome.exitCode !== 0) return { pods, refusal: outcome };
    pods.push(pod);
  }
  return assert.fail("a block of 8 addresses gives no more than 8");
}

/** What a main plugin makes of the answer and hands to CHECK and DEL. */
const mainResult = (pod: Pod, { cniVersion, ips, routes }: IpamResult) => ({
  cniVersion,
  interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", sandbox: pod.ns.path }],
  ips: ips.map((ip) => ({ ...ip, interface: 0 })),
  ...(routes === undefined ? {} : { routes }),
});

async function kept(on: TestNode, pod: Pod, result: IpamResult): Promise<boolean> {
  const outcome = await on.call("CHECK", pod, asIpam({ prevResult: mainResult(pod, result) }));
  return outcome.exitCode === 0;
}

test("13.1 ADD answers addresses and routes, without interfaces, for each kind of main plugin", async (t) => {
  for (const type of ["bridge", "ptp", "macvlan", "ipvlan", "some-plugin"]) {
    const result = await ipamAdd(node, node.pod(t), {}, type);
    assert.equal(result.cniVersion, "1.1.0");
    assert.ok(result.ips.length > 0);
    for (const ip of result.ips) {
      assert.match(ip.address, /^(?:10\.4\.1\.\d+\/\d+|fd00:10:4:1:[0-9a-f:]+\/\d+)$/);
    }
  }
});

test("13.2 no link, address, route or filter entry is made, in the pod or on the node", async (t) => {
  const own = await startNode(t);
  const pod = own.pod(t);
  const before = [stateOf(pod.ns), stateOf(own.ns)];
  await ipamAdd(own, pod);
  assert.deepEqual([stateOf(pod.ns), stateOf(own.ns)], before);
  silent(await own.call("DEL", pod, asIpam()));
  assert.deepEqual([stateOf(pod.ns), stateOf(own.ns)], before);
});

test("13.3 each version has its own shape", async (t) => {
  for (const cniVersion of ["0.1.0", "0.2.0"]) {
    const result = await ipamAdd(node, node.pod(t), { cniVersion });
    assert.equal(result.cniVersion, cniVersion);
    assert.match((result["ip4"] as { ip: string }).ip, /^10\.4\.1\.\d+\/\d+$/);
    assert.ok(!("ips" in result) && !("interfaces" in result));
  }
  for (const cniVersion of ["0.3.0", "0.3.1", "0.4.0"]) {
    const result = await ipamAdd(node, node.pod(t), { cniVersion });
    assert.equal(result.cniVersion, cniVersion);
    for (const { version, address } of result.ips) assert.equal(version, address.includes(":") ? "6" : "4");
  }
  const result = await ipamAdd(node, node.pod(t), { cniVersion: "1.0.0" });
  assert.equal(result.cniVersion, "1.0.0");
  for (const ip of result.ips) assert.ok(!("version" in ip));
});

test("13.4 no address is given twice, whichever role it was asked in", async (t) => {
  const pods = Array.from({ length: 20 }, () => node.pod(t));
  const given = await Promise.all(
    pods.map(async (pod, index) =>
      index % 2 === 0 ? addresses(await ipamAdd(node, pod)) : (await node.add(pod)).ips.map(({ address }) => address),
    ),
  );
  const plain = given.flat().map((address) => address.replace(/\/.*/, ""));
  assert.equal(new Set(plain).size, plain.length);
});

test("13.5 CHECK succeeds silently right after ADD", async (t) => {
  const pod = node.pod(t);
  const result = await ipamAdd(node, pod);
  silent(await node.call("CHECK", pod, asIpam({ prevResult: mainResult(pod, result) })));
});

test("13.6 CHECK fails where there is no reservation", async (t) => {
  const pod = node.pod(t);
  const result = await ipamAdd(node, pod);
  silent(await node.call("DEL", pod, asIpam()));
  refused(await node.call("CHECK", pod, asIpam({ prevResult: mainResult(pod, result) })), "any");
  const stranger = node.pod(t);
  refused(await node.call("CHECK", stranger, asIpam({ prevResult: mainResult(stranger, result) })), "any");
});

test("13.7 CHECK fails where the main plugin's result has another address", async (t) => {
  const pod = node.pod(t);
  const { ips, ...result } = mainResult(pod, await ipamAdd(node, pod));
  const other = ips.map((ip) => ({ ...ip, address: ip.address.replace(/[0-9a-f]+\//, "99/") }));
  refused(await node.call("CHECK", pod, asIpam({ prevResult: { ...result, ips: other } })), "any");
});

test("13.8 DEL succeeds silently, again and for what was never added, without a namespace too", async (t) => {
  const pod = node.pod(t);
  const result = await ipamAdd(node, pod);
  for (const prevResult of [mainResult(pod, result), undefined, "junk"])
    silent(await node.call("DEL", pod, asIpam({ prevResult })));
  silent(await node.call("DEL", node.pod(t), asIpam()));
  const other = node.pod(t);
  await ipamAdd(node, other);
  other.ns.remove();
  silent(await node.call("DEL", other, { ...asIpam(), env: { CNI_NETNS: undefined } }));
});

test("13.9 DEL releases the address, to rest before it is given again", async (t) => {
  const small = await startNode(t, { blocks: ["10.4.1.0/29"] });
  const { pods, refusal } = await filled(small, t);
  refused(refusal, 11, `${pods.length} in use`, "0 cooling");
  silent(await small.call("DEL", pods[0], asIpam()));
  refused(await small.call("ADD", small.pod(t), asIpam()), 11, `${pods.length - 1} in use`, "1 cooling");
});

test("13.10 a second ADD of the same attachment gives no second address", async (t) => {
  const pod = node.pod(t);
  const first = await ipamAdd(node, pod);
  const outcome = await node.call("ADD", pod, asIpam());
  if (outcome.exitCode === 0)
    assert.deepEqual(addresses(documentOf(outcome) as { [k: string]: unknown } & IpamResult), addresses(first));
  else refused(outcome, "any", pod.id);
  assert.ok(await kept(node, pod, first));
});

test("13.11 GC keeps what is listed and releases the rest; without a list it releases nothing", async (t) => {
  const own = await startNode(t);
  const pods = [own.pod(t), own.pod(t)] as const;
  const results = [await ipamAdd(own, pods[0]), await ipamAdd(own, pods[1])] as const;
  silent(await own.call("GC", undefined, asIpam()));
  assert.ok((await kept(own, pods[0], results[0])) && (await kept(own, pods[1], results[1])));
  const list = [{ containerID: pods[0].id, ifname: "eth0" }];
  silent(await own.call("GC", undefined, asIpam({ "cni.dev/valid-attachments": list })));
  assert.ok(await kept(own, pods[0], results[0]));
  assert.ok(!(await kept(own, pods[1], results[1])));
});

test("13.12 GC of another network releases nothing of this one", async (t) => {
  const own = await startNode(t);
  const [pod, link] = [own.pod(t), own.pod(t)];
  const result = await ipamAdd(own, pod);
  await own.add(link);
  silent(await own.call("GC", undefined, asIpam({ name: "other", "cni.dev/valid-attachments": [] })));
  assert.ok(await kept(own, pod, result));
  silent(await own.call("GC", undefined, asIpam({ "cni.dev/valid-attachments": [] })));
  assert.ok(!(await kept(own, pod, result)));
  assert.ok(podTraces(own.ns).length > 0, "the pod of network fairlead is untouched");
});

test("13.13 STATUS is silent where addresses can be given, and 50 without an agent", async (t) => {
  silent(await node.call("STATUS", undefined, asIpam()));
  const down = await startNode(t);
  await down.agent.stop();
  refused(await down.call("STATUS", undefined, asIpam()), 50);
});

test("13.14 exhausted addresses are said clearly", async (t) => {
  const { pods, refusal } = await filled(await startNode(t, { blocks: ["10.4.1.0/29"] }), t);
  assert.ok(pods.length >= 4, `${pods.length} pods`);
  refused(refusal, 11, "10.4.1.0/29", /no free/);
});

test("13.15 wishes for addresses are obeyed as for our own links", async (t) => {
  const result = await ipamAdd(node, node.pod(t), { runtimeConfig: { ips: ["10.4.1.240"] } });
  assert.ok(addresses(result).some((address) => address.startsWith("10.4.1.240/")));
  refused(
    await node.call("ADD", node.pod(t), asIpam({ runtimeConfig: { ips: ["192.0.2.1"] } })),
    2,
    "ips",
    "192.0.2.1",
  );
});

test("13.16 reservations outlive a restart of the agent", async (t) => {
  const own = await startNode(t);
  const pod = own.pod(t);
  const result = await ipamAdd(own, pod);
  await own.agent.stop();
  await own.agent.start();
  assert.ok(await kept(own, pod, result));
  const other = await ipamAdd(own, own.pod(t));
  assert.ok(!addresses(other).some((address) => addresses(result).includes(address)));
});

/** A main plugin and its IPAM share one container and interface: nothing may be made of the pod by us. */
test("13.17 the main plugin's interface in the pod is never touched", async (t) => {
  const own = await startNode(t);
  const pod = own.pod(t);
  const result = await ipamAdd(own, pod);
  pod.ns.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "main0");
  pod.ns.run("ip", "address", "add", `${v4Of(result)}/24`, "dev", "eth0");
  const before = linksIn(pod.ns);
  silent(await own.call("CHECK", pod, asIpam({ prevResult: mainResult(pod, result) })));
  silent(await own.call("DEL", pod, asIpam({ prevResult: mainResult(pod, result) })));
  silent(await own.call("GC", undefined, asIpam({ "cni.dev/valid-attachments": [] })));
  assert.deepEqual(linksIn(pod.ns), before);
});

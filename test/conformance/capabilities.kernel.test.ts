// Conformance 12, first part: addresses that a runtime asks for: given, or refused with key and value.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addressesOf, globalAddressesIn, linkIn, reachable, v4Of } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { type Outcome, refused, silent } from "./runtime.ts";
import { asking, refusedAsking } from "./wishes.ts";

const node = await startNode(fileScope);

test("12.1 ips: a free address of the node's blocks is given, with its prefix length or without", async (t) => {
  for (const ask of ["10.4.1.201/32", "10.4.1.202"]) {
    const pod = node.pod(t);
    const result = await node.add(pod, asking({ ips: [ask] }));
    assert.equal(v4Of(result), ask.replace("/32", ""));
    assert.ok(globalAddressesIn(pod.ns, "eth0").includes(`${v4Of(result)}/32`));
    reachable(node, pod.ns, result);
  }
});

test("12.2 ips: one address of each family", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod, asking({ ips: ["10.4.1.203", "fd00:10:4:1::203/128"] }));
  assert.deepEqual(addressesOf(result), ["10.4.1.203", "fd00:10:4:1::203"]);
  reachable(node, pod.ns, result);
});

test("12.3 ips: an address outside the node's blocks is refused with its key and value", async (t) => {
  for (const ask of ["10.4.2.9", "192.0.2.1/32", "fd00:10:4:2::9", "10.4.1.0", "10.4.1.255"])
    await refusedAsking(node, node.pod(t), { ips: [ask] }, 2, "ips", ask);
});

test("12.4 ips: an address in use is refused for now", async (t) => {
  const taken = v4Of(await node.add(node.pod(t)));
  await refusedAsking(node, node.pod(t), { ips: [taken] }, 11, taken);
});

test("12.5 ips: an address that rests is refused for now", async (t) => {
  const old = node.pod(t);
  const rests = v4Of(await node.add(old));
  silent(await node.call("DEL", old));
  await refusedAsking(node, node.pod(t), { ips: [rests] }, 11, rests);
});

test("12.6 ips: what is no address is refused with its key and value", async (t) => {
  for (const ask of ["10.4.1.300", "pod", "10.4.1.9/33"])
    await refusedAsking(node, node.pod(t), { ips: [ask] }, [2, 7], "ips", ask);
  await refusedAsking(node, node.pod(t), { ips: "10.4.1.9" }, [2, 7], "ips");
  await refusedAsking(node, node.pod(t), { ips: [7] }, [2, 7], "ips");
});

test("12.7 ips: two of one family are both given or refused, never half obeyed", async (t) => {
  const pod = node.pod(t);
  const ips = ["10.4.1.204", "10.4.1.205"];
  const outcome: Outcome = await node.call("ADD", pod, asking({ ips }));
  if (outcome.exitCode !== 0) refused(outcome, 2, "ips");
  else for (const ask of ips) assert.ok(globalAddressesIn(pod.ns, "eth0").includes(`${ask}/32`), ask);
});

test("12.8 args.cni.ips asks as ips does, and labels are ignored", async (t) => {
  const pod = node.pod(t);
  const ask = (ips: string[]) => ({ conf: { args: { cni: { ips, labels: [{ key: "app", value: "x" }] } } } });
  const result = await node.add(pod, ask(["10.4.1.206"]));
  assert.equal(v4Of(result), "10.4.1.206");
  refused(await node.call("ADD", node.pod(t), ask(["10.4.1.206"])), 11, "10.4.1.206");
  refused(await node.call("ADD", node.pod(t), ask(["192.0.2.1"])), 2, "ips", "192.0.2.1");
  silent(await node.call("DEL", pod, ask(["10.4.1.206"])));
});

test("12.9 IP in CNI_ARGS is ignored where args.cni.ips says it better", async (t) => {
  const result = await node.add(node.pod(t), {
    conf: { args: { cni: { ips: ["10.4.1.207"] } } },
    env: { CNI_ARGS: "IgnoreUnknown=1;IP=10.4.1.208" },
  });
  assert.equal(v4Of(result), "10.4.1.207");
});

test("12.10 mac: the pod's interface has it, the result says so, and traffic flows at once", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod, asking({ mac: "02:11:22:33:44:55" }));
  assert.equal(linkIn(pod.ns, "eth0").address, "02:11:22:33:44:55");
  assert.equal(result.interfaces.find(({ name }) => name === "eth0")?.mac, "02:11:22:33:44:55");
  reachable(node, pod.ns, result);
  silent(await node.call("CHECK", pod, asking({ mac: "02:11:22:33:44:55" }, { conf: { prevResult: result } })));
  silent(await node.call("DEL", pod, asking({ mac: "02:11:22:33:44:55" })));
});

test("12.11 mac: upper case is the same address", async (t) => {
  const pod = node.pod(t);
  await node.add(pod, asking({ mac: "02:AA:BB:CC:DD:EE" }));
  assert.equal(linkIn(pod.ns, "eth0").address, "02:aa:bb:cc:dd:ee");
});

test("12.12 mac: a group address, none and no address at all are refused with key and value", async (t) => {
  for (const mac of ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "02:11:22:33:44", "junk"])
    await refusedAsking(node, node.pod(t), { mac }, 2, "mac", mac);
});

test("12.13 ipRanges: the address comes from the range", async (t) => {
  const ipRanges = [[{ subnet: "10.4.1.0/24", rangeStart: "10.4.1.220", rangeEnd: "10.4.1.222" }]];
  const results = await Promise.all([1, 2, 3].map(() => node.add(node.pod(t), asking({ ipRanges }))));
  assert.deepEqual(results.map(v4Of).sort(), ["10.4.1.220", "10.4.1.221", "10.4.1.222"]);
  await refusedAsking(node, node.pod(t), { ipRanges }, 11);
});

test("12.14 ipRanges: two families, and several ranges of one family", async (t) => {
  const ipRanges = [
    [
      { subnet: "10.4.1.0/24", rangeStart: "10.4.1.230", rangeEnd: "10.4.1.230" },
      { subnet: "10.4.1.240/29", gateway: "10.4.1.241" },
    ],
    [{ subnet: "fd00:10:4:1::aa00/120" }],
  ];
  const allowed = /^10\.4\.1\.(?:230|24[0-7])$/;
  const results = await Promise.all([1, 2, 3].map(() => node.add(node.pod(t), asking({ ipRanges }))));
  for (const result of results) {
    assert.match(v4Of(result), allowed);
    assert.match(addressesOf(result)[1] ?? "", /^fd00:10:4:1::aa[0-9a-f]{2}$/);
  }
});

test("12.15 ipRanges: a range outside the node's blocks is refused with key and value", async (t) => {
  for (const subnet of ["10.9.0.0/24", "10.4.0.0/16", "fd00:9::/64"])
    await refusedAsking(node, node.pod(t), { ipRanges: [[{ subnet }]] }, 2, "ipRanges", subnet);
});

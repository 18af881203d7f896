// Conformance 3: versions of the protocol: which are spoken, which verb needs which, and the shape of a result in each.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { globalAddressesIn, hasLink } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { documentOf, errorOf, refused, silent } from "./runtime.ts";

const node = await startNode(fileScope);
const versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const listVersions = versions.slice(2);

type Json = Record<string, unknown>;
const list = (object: Json, key: string): Json[] => (object[key] ?? []) as Json[];

/** Only these keys, all of the first. */
function keysOf(object: Json, needed: readonly string[], more: readonly string[] = []): void {
  const keys = Object.keys(object);
  assert.deepEqual(
    keys.filter((key) => !needed.includes(key) && !more.includes(key)),
    [],
    "no other key",
  );
  for (const key of needed) assert.ok(keys.includes(key), `${key} in ${JSON.stringify(object)}`);
}

/** Attaches a pod in `version` (undefined: the configuration has none), and gives the document and the pod's real addresses. */
async function attachIn(t: Parameters<typeof node.pod>[0], cniVersion: string | undefined) {
  const pod = node.pod(t);
  const result = documentOf(await node.call("ADD", pod, { conf: { cniVersion } }));
  const addresses = globalAddressesIn(pod.ns, "eth0").sort();
  assert.equal(addresses.length, 2, "one address of each family");
  silent(await node.call("DEL", pod, { conf: { cniVersion } }));
  return { result, addresses, pod };
}

/** 0.1.0 and 0.2.0: one object for each family, and nothing of the later lists. */
function familyShape(result: Json, addresses: readonly string[]): void {
  keysOf(result, ["cniVersion", "ip4", "ip6"]);
  for (const [key, everything] of [
    ["ip4", "0.0.0.0/0"],
    ["ip6", "::/0"],
  ] as const) {
    const ip = result[key] as Json;
    keysOf(ip, ["ip"], ["gateway", "routes"]);
    assert.ok(addresses.includes(ip["ip"] as string), `${String(ip["ip"])} is the pod's`);
    assert.ok(list(ip, "routes").some(({ dst }) => dst === everything));
    for (const route of list(ip, "routes")) keysOf(route, ["dst"], ["gw"]);
  }
}

/** 0.3.0 and later. `ipKeys` and `interfaceKeys`: what that version has beside what all have. */
function listShape(result: Json, addresses: readonly string[], keys: { ip: string[]; interface: string[] }): void {
  keysOf(result, ["cniVersion", "interfaces", "ips", "routes"]);
  assert.deepEqual(
    list(result, "ips")
      .map(({ address }) => String(address))
      .sort(),
    addresses,
  );
  for (const ip of list(result, "ips")) keysOf(ip, ["interface", "address", ...keys.ip], ["gateway"]);
  for (const each of list(result, "interfaces")) keysOf(each, ["name"], ["mac", "sandbox", ...keys.interface]);
}

function versionedIps(result: Json): void {
  for (const { version, address } of list(result, "ips"))
    assert.equal(version, String(address).includes(":") ? "6" : "4", String(address));
}

test("3.1 a configuration without cniVersion speaks 0.1.0", async (t) => {
  const { result, addresses } = await attachIn(t, undefined);
  assert.equal(result["cniVersion"], "0.1.0");
  familyShape(result, addresses);
});

for (const name of ["3.2 0.1.0 has one object a family", "3.3 0.2.0 has one object a family"]) {
  const version = present(name.split(" ")[1], "version");
  test(name, async (t) => {
    const { result, addresses } = await attachIn(t, version);
    assert.equal(result["cniVersion"], version);
    familyShape(result, addresses);
  });
}

for (const name of [
  "3.4 0.3.0 has lists, each address with its family",
  "3.5 0.3.1 has lists, each address with its family",
  "3.6 0.4.0 has lists, each address with its family",
]) {
  const version = present(name.split(" ")[1], "version");
  test(name, async (t) => {
    const { result, addresses } = await attachIn(t, version);
    assert.equal(result["cniVersion"], version);
    listShape(result, addresses, { ip: ["version"], interface: [] });
    versionedIps(result);
  });
}

test("3.7 1.0.0 has lists, and no family beside the address", async (t) => {
  const { result, addresses } = await attachIn(t, "1.0.0");
  assert.equal(result["cniVersion"], "1.0.0");
  // The library's conversion to 1.0.0 lets an MTU stand; the specification knows none there.
  listShape(result, addresses, { ip: [], interface: ["mtu"] });
});

test("3.8 1.1.0 has lists, and interfaces tell their MTU", async (t) => {
  const { result, addresses } = await attachIn(t, "1.1.0");
  assert.equal(result["cniVersion"], "1.1.0");
  listShape(result, addresses, { ip: [], interface: ["mtu", "socketPath", "pciID"] });
  for (const { mtu } of list(result, "interfaces")) assert.equal(typeof mtu, "number");
});

test("3.9 results up to 0.4.0 have no mtu, socketPath or pciID", async (t) => {
  for (const version of versions.slice(0, 5)) {
    const { result } = await attachIn(t, version);
    assert.doesNotMatch(JSON.stringify(result), /"(?:mtu|socketPath|pciID)"/, version);
  }
});

test("3.10 dns is left out where it is empty, in every version", async (t) => {
  for (const version of versions) {
    const { result } = await attachIn(t, version);
    assert.ok(!("dns" in result), version);
  }
});

test("3.11 a version must be exactly one that is supported: there are no ranges", async (t) => {
  const pod = node.pod(t);
  const wrong = [
    "1.1",
    "1",
    "v1.1.0",
    "1.1.0 ",
    " 1.1.0",
    "1.1.1",
    "1.2.0",
    "2.0.0",
    "0.3.2",
    "^1.0.0",
    ">=0.3.0",
    "0.0.0",
  ];
  for (const cniVersion of wrong)
    for (const verb of ["ADD", "DEL", "CHECK", "GC", "STATUS"])
      refused(await node.call(verb, pod, { conf: { cniVersion } }), 1);
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("3.12 GC and STATUS came with 1.1.0", async () => {
  for (const verb of ["GC", "STATUS"])
    for (const cniVersion of [...versions.slice(0, 6), undefined])
      refused(await node.call(verb, undefined, { conf: { cniVersion } }), 1, verb);
});

test("3.13 CHECK came with 0.4.0", async (t) => {
  const pod = node.pod(t);
  const prevResult = await node.add(pod);
  for (const cniVersion of [...versions.slice(0, 4), undefined])
    refused(await node.call("CHECK", pod, { conf: { cniVersion, prevResult } }), 1, "CHECK");
});

test("3.14 CHECK and DEL take the result that ADD gave, in each version that hands it over", async (t) => {
  for (const cniVersion of ["0.4.0", "1.0.0", "1.1.0"]) {
    const pod = node.pod(t);
    const prevResult = await node.add(pod, { conf: { cniVersion } });
    silent(await node.call("CHECK", pod, { conf: { cniVersion, prevResult } }));
    silent(await node.call("DEL", pod, { conf: { cniVersion, prevResult } }));
    assert.ok(!hasLink(pod.ns, "eth0"));
  }
});

test("3.15 an attachment made in one version can be checked and removed in another", async (t) => {
  const pod = node.pod(t);
  const prevResult = await node.add(pod, { conf: { cniVersion: "0.3.1" } });
  silent(await node.call("CHECK", pod, { conf: { prevResult: { ...prevResult, cniVersion: "1.1.0" } } }));
  silent(await node.call("DEL", pod, { conf: { cniVersion: "0.1.0" } }));
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("3.16 VERSION lists every version, whatever is on standard input", async () => {
  const inputs = ["", "junk", "{", "[]", JSON.stringify(node.conf()), JSON.stringify({ cniVersion: "0.4.0" })];
  for (const stdin of inputs) {
    const { cniVersion, supportedVersions } = documentOf(await node.call("VERSION", undefined, { stdin }));
    assert.deepEqual(supportedVersions, versions);
    assert.ok(versions.includes(String(cniVersion)), `cniVersion ${String(cniVersion)}`);
  }
});

test("3.17 VERSION needs no standard input, open or closed", async () => {
  for (const redirection of ["<&-", "</dev/null", "</"]) {
    const outcome = await node.call("VERSION", undefined, { around: `exec "$0" ${redirection}` });
    assert.deepEqual(documentOf(outcome)["supportedVersions"], versions);
  }
  const child = spawn(node.plugin, [], { env: node.env("VERSION"), timeout: 15_000 });
  const [exitCode] = (await once(child, "close")) as [number]; // its standard input stays open
  assert.equal(exitCode, 0);
});

test("3.18 VERSION needs no agent", async () => {
  const outcome = await node.call("VERSION", undefined, { env: { FAIRLEAD_SOCKET: "/nowhere/cni.sock" } });
  assert.deepEqual(documentOf(outcome)["supportedVersions"], versions);
});

test("3.19 an error carries the version of the request", async (t) => {
  for (const cniVersion of listVersions) {
    const outcome = await node.call("ADD", node.pod(t), { conf: { cniVersion }, env: { CNI_NETNS: "/nowhere" } });
    assert.equal(errorOf(outcome).cniVersion, cniVersion);
  }
});

test("3.20 ADD and DEL answer in the oldest version too", async (t) => {
  for (const cniVersion of ["0.1.0", "0.2.0"]) {
    const { pod } = await attachIn(t, cniVersion);
    assert.ok(!hasLink(pod.ns, "eth0"));
    silent(await node.call("DEL", pod, { conf: { cniVersion } }));
  }
});

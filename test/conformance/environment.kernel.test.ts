// Conformance 1: the environment variables of a call, what each may hold, which verb needs which, and what is said where they are bad.

import assert from "node:assert/strict";
import { copyFileSync, chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hasLink, linksIn, reachable, stateOf } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { documentOf, refused, silent } from "./runtime.ts";

const node = await startNode(fileScope);
const ofOneContainer = ["ADD", "DEL", "CHECK"] as const;

/** What a container id or a network name may never hold. */
const badNames = [
  "a/b",
  "/",
  "..",
  ".a",
  "-a",
  "_a",
  "a b",
  "a\n",
  "\na",
  "a\t",
  "a:b",
  "a;b",
  "٣",
  "é",
  "a\u00a0",
  "💡",
];

test("1.1 without CNI_COMMAND it tells on stderr what it is and which versions it speaks", async () => {
  for (const CNI_COMMAND of [undefined, ""]) {
    const { exitCode, stdout, stderr } = await node.call("", undefined, { env: { CNI_COMMAND } });
    assert.deepEqual([exitCode, stdout], [0, ""]);
    assert.match(
      stderr,
      /CNI protocol versions supported: 0\.1\.0, 0\.2\.0, 0\.3\.0, 0\.3\.1, 0\.4\.0, 1\.0\.0, 1\.1\.0/,
    );
  }
});

test("1.2 an unknown verb is refused, in whatever case and spelling", async (t) => {
  const pod = node.pod(t);
  for (const verb of ["add", "Add", "FOO", "ADD ", " ADD", "ADD\n", "ADD,DEL", "GET", "UPDATE"]) {
    const { msg } = refused(await node.call(verb, pod), 4);
    assert.ok(msg.startsWith("unknown CNI_COMMAND"), msg);
  }
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("1.3 ADD needs container id, namespace and interface name", async (t) => {
  const pod = node.pod(t);
  for (const name of ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
    refused(await node.call("ADD", pod, { env: { [name]: undefined } }), 4, name);
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("1.4 DEL needs container id and interface name", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod);
  for (const name of ["CNI_CONTAINERID", "CNI_IFNAME"])
    refused(await node.call("DEL", pod, { env: { [name]: undefined } }), 4, name);
  reachable(node, pod.ns, result);
});

test("1.5 CHECK needs container id, namespace and interface name", async (t) => {
  const pod = node.pod(t);
  const prevResult = await node.add(pod);
  for (const name of ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
    refused(await node.call("CHECK", pod, { env: { [name]: undefined }, conf: { prevResult } }), 4, name);
});

test("1.6 STATUS needs nothing but the verb", async () => {
  silent(await node.call("STATUS", undefined, { env: { CNI_PATH: undefined } }));
});

test("1.7 GC needs CNI_PATH", async () => {
  refused(await node.call("GC", undefined, { env: { CNI_PATH: undefined } }), 4, "CNI_PATH");
});

test("1.8 everything that is missing stands in one message", async () => {
  for (const verb of ["ADD", "CHECK"]) refused(await node.call(verb), 4, "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME");
  refused(await node.call("DEL"), 4, "CNI_CONTAINERID", "CNI_IFNAME");
});

test("1.9 an empty variable counts as missing", async (t) => {
  const pod = node.pod(t);
  for (const name of ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
    refused(await node.call("ADD", pod, { env: { [name]: "" } }), 4, name);
  refused(await node.call("GC", undefined, { env: { CNI_PATH: "" } }), 4, "CNI_PATH");
  // Runtimes set all variables for every verb, those without meaning to the empty text.
  const env = { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "", CNI_ARGS: "" };
  for (const verb of ["STATUS", "GC"]) silent(await node.call(verb, undefined, { env }));
});

test("1.10 ADD, CHECK and DEL get by without CNI_PATH", async (t) => {
  const pod = node.pod(t);
  const env = { CNI_PATH: undefined };
  const prevResult = await node.add(pod, { env });
  silent(await node.call("CHECK", pod, { env, conf: { prevResult } }));
  silent(await node.call("DEL", pod, { env, conf: { prevResult } }));
});

test("1.11 a container id begins with a letter or digit, then letters, digits, _ . -", async (t) => {
  for (const id of ["a", "0", "Z9_.-", "a..b", "x".repeat(128)]) {
    const pod = { ...node.pod(t), id };
    await node.add(pod);
    silent(await node.call("DEL", pod));
  }
});

test("1.12 any other container id is refused on ADD, DEL and CHECK", async (t) => {
  const pod = node.pod(t);
  for (const verb of ofOneContainer)
    for (const CNI_CONTAINERID of badNames) refused(await node.call(verb, pod, { env: { CNI_CONTAINERID } }), 4);
  refused(await node.call("ADD", pod, { env: { CNI_CONTAINERID: "a/b" } }), 4, "CNI_CONTAINERID", "a/b");
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("1.13 an interface name of 15 bytes is good, 16 bytes are too many", async (t) => {
  const pod = { ...node.pod(t), ifname: "fifteen-bytes-0" };
  await node.add(pod);
  assert.ok(hasLink(pod.ns, "fifteen-bytes-0"));
  const other = node.pod(t);
  refused(await node.call("ADD", { ...other, ifname: "sixteen-bytes-01" }), 4, "CNI_IFNAME");
});

test("1.14 bytes count, not characters: 15 characters of more than 15 bytes are refused", async (t) => {
  refused(await node.call("ADD", { ...node.pod(t), ifname: "ééééééééeeeeeee" }), 4, "CNI_IFNAME");
});

test("1.15 the names . and .. are refused", async (t) => {
  const pod = node.pod(t);
  for (const verb of ofOneContainer)
    for (const ifname of [".", ".."]) refused(await node.call(verb, { ...pod, ifname }), 4, "CNI_IFNAME");
});

test("1.16 slash, colon and white space of any script are refused in an interface name", async (t) => {
  const pod = node.pod(t);
  for (const space of ["/", ":", " ", "\t", "\n", "\v", "\r", "\u0085", "\u00a0", "\u2003", "\u2028", "\u3000"])
    refused(await node.call("ADD", { ...pod, ifname: `a${space}b` }), 4, "CNI_IFNAME");
  assert.deepEqual(
    linksIn(pod.ns).map(({ ifname }) => ifname),
    ["lo"],
  );
});

test("1.17 STATUS, GC and VERSION look at no container: junk in its variables is ignored", async () => {
  const env = { CNI_CONTAINERID: "../..", CNI_IFNAME: "a/b:c d", CNI_NETNS: "\n" };
  for (const verb of ["STATUS", "GC"]) silent(await node.call(verb, undefined, { env }));
  documentOf(await node.call("VERSION", undefined, { env }));
});

test("1.18 what is there and bad is said before what is missing, the container id first", async (t) => {
  const pod = node.pod(t);
  const bad = { CNI_CONTAINERID: "a/b", CNI_IFNAME: "a/b" };
  assert.match(refused(await node.call("ADD", pod, { env: bad }), 4).msg, /CNI_CONTAINERID/);
  const { msg } = refused(await node.call("ADD", pod, { env: { CNI_CONTAINERID: undefined, CNI_IFNAME: "a/b" } }), 4);
  assert.match(msg, /CNI_IFNAME/);
  assert.doesNotMatch(msg, /missing/);
});

test("1.19 the environment is judged before standard input", async (t) => {
  refused(await node.call("ADD", node.pod(t), { env: { CNI_IFNAME: "" }, stdin: "no JSON" }), 4, "CNI_IFNAME");
});

test("1.20 the node's own namespace is refused, and nothing changes there", async (t) => {
  const own = await startNode(t);
  const before = stateOf(own.ns);
  refused(await own.call("ADD", { ...node.pod(t), ns: own.ns, ifname: "eth9" }), 8, own.ns.path);
  assert.deepEqual(stateOf(own.ns), before);
});

test("1.21 CNI_NETNS_OVERRIDE does not open the node's own namespace", async (t) => {
  const own = await startNode(t);
  const before = stateOf(own.ns);
  for (const CNI_NETNS_OVERRIDE of ["1", "TRUE", "true"]) {
    const pod = { ...node.pod(t), ns: own.ns, ifname: "eth9" };
    refused(await own.call("ADD", pod, { env: { CNI_NETNS_OVERRIDE } }), 8, own.ns.path);
  }
  assert.deepEqual(stateOf(own.ns), before);
});

test("1.22 DEL in the node's own namespace succeeds and changes nothing", async (t) => {
  const own = await startNode(t);
  const before = stateOf(own.ns);
  silent(await own.call("DEL", { ...node.pod(t), ns: own.ns, ifname: "eth0" }));
  assert.deepEqual(stateOf(own.ns), before);
});

test("1.23 a pair in CNI_ARGS that is none is refused", async (t) => {
  const pod = node.pod(t);
  for (const CNI_ARGS of ["IgnoreUnknown", "IgnoreUnknown=1;K8S_POD_NAME", "IgnoreUnknown=1=1", "IgnoreUnknown=1;;"])
    refused(await node.call("ADD", pod, { env: { CNI_ARGS } }), 4, "CNI_ARGS");
});

test("1.24 an unknown key in CNI_ARGS is refused unless IgnoreUnknown is 1 or true", async (t) => {
  const pod = node.pod(t);
  for (const CNI_ARGS of ["FOO=bar", "FOO=bar;IgnoreUnknown=0", "IgnoreUnknown=false;FOO=bar"])
    refused(await node.call("ADD", pod, { env: { CNI_ARGS } }), 4, "CNI_ARGS", "FOO");
  for (const CNI_ARGS of ["FOO=bar;IgnoreUnknown=1", "IgnoreUnknown=true;FOO=bar", "IgnoreUnknown=True;FOO=bar;BAR="]) {
    await node.add(pod, { env: { CNI_ARGS } });
    silent(await node.call("DEL", pod, { env: { CNI_ARGS } }));
  }
});

test("1.25 what containerd puts into CNI_ARGS is taken by every verb", async (t) => {
  const pod = node.pod(t);
  const CNI_ARGS = `IgnoreUnknown=1;K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=dns-5d78c9869d-abcde;K8S_POD_INFRA_CONTAINER_ID=${pod.id};K8S_POD_UID=7f2c0a7e-1d2b-4a5e-9f21-0d3c6a4b5e77`;
  const prevResult = await node.add(pod, { env: { CNI_ARGS } });
  silent(await node.call("CHECK", pod, { env: { CNI_ARGS }, conf: { prevResult } }));
  silent(await node.call("DEL", pod, { env: { CNI_ARGS }, conf: { prevResult } }));
});

test("1.26 CNI_ARGS IP and MAC are refused with their key and value", async (t) => {
  const pod = node.pod(t);
  const asked = { IP: "10.4.1.77", MAC: "02:00:00:00:00:77" };
  for (const [key, value] of Object.entries(asked)) {
    const CNI_ARGS = `IgnoreUnknown=1;${key}=${value}`;
    refused(await node.call("ADD", pod, { env: { CNI_ARGS } }), 2, key, value);
  }
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("1.27 trace variables and unknown ones are tolerated", async (t) => {
  const pod = node.pod(t);
  const env = {
    TRACEPARENT: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    TRACESTATE: "rojo=00f067aa0ba902b7",
    BAGGAGE: "userId=alice",
    CNI_FUTURE: "1",
    CNI_: "",
    HOME: "/",
  };
  await node.add(pod, { env });
  silent(await node.call("DEL", pod, { env }));
});

test("1.28 a list of directories in CNI_PATH, some of them missing, is good", async (t) => {
  const pod = node.pod(t);
  const env = { CNI_PATH: `/nowhere:${node.plugin.replace(/\/[^/]*$/, "")}::/opt/cni/bin` };
  await node.add(pod, { env });
  silent(await node.call("DEL", pod, { env }));
});

test("1.29 without root it says what it may not do", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fltest-plugin-"));
  t.after(() => rmSync(directory, { recursive: true }));
  chmodSync(directory, 0o755);
  const program = join(directory, "fairlead-cni");
  copyFileSync(node.plugin, program);
  chmodSync(program, 0o755);
  const pod = node.pod(t);
  for (const verb of ["ADD", "CHECK", "DEL", "STATUS", "GC"])
    refused(await node.call(verb, pod, { program, uid: 65_534 }), "any", /permission denied/i);
  assert.ok(!hasLink(pod.ns, "eth0"));
});

// Conformance 2: standard input, the network configuration: what is no configuration, what must be in it, what may be in it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { hasLink } from "./eyes.ts";
import { fileScope, type Pod, startNode } from "./node.ts";
import { type Outcome, refused, resultOf, silent } from "./runtime.ts";

const node = await startNode(fileScope);
const verbs = ["ADD", "DEL", "CHECK", "GC", "STATUS"] as const;
const prevResult = { cniVersion: "1.1.0", ips: [{ address: "10.4.1.1/32" }] };

/** Calls each verb that reads a configuration with the same standard input, at once. */
function eachVerb(pod: Pod, stdin: string | Uint8Array): Promise<Outcome[]> {
  return Promise.all(verbs.map((verb) => node.call(verb, pod, { stdin })));
}

/** Every verb must refuse; the pod must stay as it is. */
async function allRefuse(pod: Pod, stdin: string | Uint8Array, codes: number | number[], ...words: RegExp[]) {
  for (const outcome of await eachVerb(pod, stdin)) refused(outcome, codes, ...words);
  assert.ok(!hasLink(pod.ns, pod.ifname));
}

const conf = (change: Record<string, unknown> = {}): string => JSON.stringify(node.conf({ prevResult, ...change }));

test("2.1 empty standard input cannot be decoded", async (t) => {
  const pod = node.pod(t);
  for (const stdin of ["", "\n", " \t\r\n "]) await allRefuse(pod, stdin, 6);
});

test("2.2 truncated JSON cannot be decoded, wherever it is cut", async (t) => {
  const pod = node.pod(t);
  const whole = conf();
  for (const length of [1, 2, Math.floor(whole.length / 2), whole.length - 1])
    await allRefuse(pod, whole.slice(0, length), 6);
});

test("2.3 two documents in a row cannot be decoded", async (t) => {
  const pod = node.pod(t);
  for (const between of ["", "\n", " "]) await allRefuse(pod, `${conf()}${between}${conf()}`, 6);
});

test("2.4 a document that is no object is refused", async (t) => {
  const pod = node.pod(t);
  for (const stdin of [`[${conf()}]`, "[]", "7", "null", "true", JSON.stringify(conf())])
    await allRefuse(pod, stdin, [6, 7]);
});

test("2.5 without a name every verb refuses the configuration", async (t) => {
  const pod = node.pod(t);
  await allRefuse(pod, conf({ name: undefined }), 7, /name/);
  await allRefuse(pod, conf({ name: "" }), 7, /name/);
});

test("2.6 a name with other characters than a container id may have is refused", async (t) => {
  const pod = node.pod(t);
  for (const name of ["a/b", "..", ".a", "-a", "_a", "a b", "a\n", "a:b", "é", "net٣"])
    await allRefuse(pod, conf({ name }), 7, /name/);
});

test("2.7 a name that is no text is refused", async (t) => {
  const pod = node.pod(t);
  for (const name of [7, true, null, ["fairlead"], { a: 1 }]) await allRefuse(pod, conf({ name }), [6, 7]);
});

test("2.8 a version that is no text is refused", async (t) => {
  const pod = node.pod(t);
  for (const cniVersion of [1.1, ["1.1.0"], { a: 1 }, true]) await allRefuse(pod, conf({ cniVersion }), [6, 7]);
});

test("2.9 decoding is judged before the name, the name before the version, the version before the work", async (t) => {
  const pod = { ...node.pod(t) };
  const nowhere = { CNI_NETNS: "/run/netns/fltest-nowhere" };
  const call = (stdin: string) => node.call("ADD", pod, { env: nowhere, stdin });
  refused(await call(`${conf({ name: undefined, cniVersion: "9.9.9" })}{`), 6);
  refused(await call(conf({ name: undefined, cniVersion: "9.9.9" })), 7);
  refused(await call(conf({ cniVersion: "9.9.9" })), 1);
  const { code } = refused(await call(conf({ prevResult: undefined })), "any", nowhere.CNI_NETNS);
  assert.ok(![1, 6, 7].includes(code), `${code} tells of the namespace`);
});

test("2.10 standard input that cannot be read is an I/O failure", async (t) => {
  const pod = node.pod(t);
  for (const verb of verbs) refused(await node.call(verb, pod, { around: 'exec "$0" </' }), 5, /stdin/);
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("2.11 unknown keys, args, capabilities and reserved keys are tolerated by every verb", async (t) => {
  const pod = node.pod(t);
  const more = {
    someKey: { deep: [1, 2, { three: null }] },
    args: { cni: { labels: [{ key: "app", value: "x" }] }, "org.example": { anything: true } },
    capabilities: { portMappings: true, bandwidth: false, made: true },
    "cni.dev/unknown": { a: 1 },
    ipMasq: true,
    dns: {},
    ipam: {},
    constructor: 1,
  };
  const result = await node.add(pod, { conf: more });
  silent(await node.call("CHECK", pod, { conf: { ...more, prevResult: result } }));
  silent(await node.call("STATUS", undefined, { conf: more }));
  silent(await node.call("GC", undefined, { conf: more }));
  silent(await node.call("DEL", pod, { conf: { ...more, prevResult: result } }));
});

test("2.12 keys that JavaScript objects inherit are only keys", async (t) => {
  const pod = node.pod(t);
  const stdin = `{"__proto__":{"cniVersion":"9.9.9"},"toString":1,${conf({ prevResult: undefined }).slice(1)}`;
  resultOf(await node.call("ADD", pod, { stdin }));
  silent(await node.call("DEL", pod, { stdin }));
  await allRefuse(pod, '{"cniVersion":"1.1.0","__proto__":{"name":"fairlead"}}', 7, /name/);
});

test("2.13 white space around the document is no second document", async (t) => {
  const pod = node.pod(t);
  resultOf(await node.call("ADD", pod, { stdin: `\n\t ${JSON.stringify(node.conf(), undefined, 2)} \r\n\n` }));
  silent(await node.call("DEL", pod));
});

test("2.14 bytes that are no UTF-8, a byte order mark and text after a zero byte cannot be decoded", async (t) => {
  const pod = node.pod(t);
  const text = Buffer.from(conf());
  await allRefuse(pod, Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), text]), 6);
  await allRefuse(pod, Buffer.concat([text.subarray(0, -1), Buffer.from(',"x":"\xff\xfe"}', "latin1")]), 6);
  await allRefuse(pod, Buffer.concat([text, Buffer.from([0])]), 6);
});

test("2.15 what no runtime sends in good faith is refused at once and hurts nobody", async (t) => {
  const pod = node.pod(t);
  const deep = `{"name":"fairlead","a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  const long = conf({ padding: "x".repeat(4_000_000) });
  for (const stdin of [deep, long]) {
    for (const outcome of await eachVerb(pod, stdin)) {
      refused(outcome, 6);
      assert.ok(outcome.tookMs < 5000, `${outcome.tookMs} ms`);
    }
  }
  await node.add(pod);
  silent(await node.call("DEL", pod));
});

test("2.16 a long but honest configuration is read", async (t) => {
  const pod = node.pod(t);
  await node.add(pod, { conf: { padding: Array.from({ length: 20_000 }, (_, n) => `entry number ${n}`) } });
  silent(await node.call("DEL", pod));
});

test("2.17 standard input may come in pieces", async (t) => {
  const pod = node.pod(t);
  const child = spawn(node.plugin, [], { env: node.env("ADD", pod), timeout: 30_000 });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  const text = conf({ prevResult: undefined });
  for (const piece of text.match(/.{1,7}/gs) ?? []) {
    await new Promise<void>((written) => child.stdin.write(piece, () => written()));
  }
  assert.equal(stdout, "");
  assert.ok(!hasLink(pod.ns, "eth0"), "nothing is done before the end");
  child.stdin.end();
  const [exitCode] = (await once(child, "close")) as [number];
  assert.equal(exitCode, 0, stdout);
  assert.ok(hasLink(pod.ns, "eth0"));
});

test("2.18 a null prevResult is an absent one", async (t) => {
  const pod = node.pod(t);
  await node.add(pod, { conf: { prevResult: null } });
  refused(await node.call("CHECK", pod, { conf: { prevResult: null } }), "any", /prevResult/);
  silent(await node.call("DEL", pod, { conf: { prevResult: null } }));
});

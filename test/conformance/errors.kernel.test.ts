// Conformance 18: failures in words that runtimes can use: where they are printed, which codes they have, what their texts may hold.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { makeProcessNode } from "./agent-process.ts";
import { bare, reachable, v4Of } from "./eyes.ts";
import { type CallChange, fileScope, makePod, type Scope, startNode } from "./node.ts";
import { errorOf, refused, resultOf, silent } from "./runtime.ts";

const node = await startNode(fileScope);

/** Ways to have ADD refused, with the code that the specification or its library has for each; "any" where they have none. */
function refusals(t: Scope): { about: string; code: number | "any"; change: CallChange }[] {
  const existing = makePod(t);
  existing.ns.run("ip", "link", "add", "eth0", "type", "bridge");
  return [
    { about: "version", code: 1, change: { conf: { cniVersion: "9.9.9" } } },
    { about: "unsupported value", code: 2, change: { env: { CNI_ARGS: "IgnoreUnknown=1;IP=192.0.2.1" } } },
    { about: "environment", code: 4, change: { env: { CNI_IFNAME: "a/b" } } },
    { about: "input", code: 5, change: { around: 'exec "$0" </' } },
    { about: "decoding", code: 6, change: { stdin: "{" } },
    { about: "configuration", code: 7, change: { conf: { name: "" } } },
    { about: "own namespace", code: 8, change: { env: { CNI_NETNS: node.ns.path } } },
    {
      about: "no agent",
      code: 11,
      change: { env: { FAIRLEAD_SOCKET: join(node.agent.config.paths.state, "nobody", "cni.sock") } },
    },
    { about: "no namespace", code: "any", change: { env: { CNI_NETNS: "/nowhere" } } },
    { about: "existing interface", code: "any", change: { env: { CNI_NETNS: existing.ns.path } } },
    { about: "previous result", code: "any", change: { conf: { prevResult: "junk" } } },
  ];
}

test("18.1 each kind of failure has the code that the specification or its library gives it", async (t) => {
  for (const { about, code, change } of refusals(t)) {
    const error = refused(await node.call("ADD", makePod(t), change), "any");
    assert.ok(code === "any" ? error.code >= 100 || error.code < 50 : error.code === code, `${about}: ${error.code}`);
  }
});

test("18.2 an error is printed on stdout, alone, with exit code 1, and stderr has no second one", async (t) => {
  for (const { about, change } of refusals(t)) {
    const { exitCode, stdout, stderr } = await node.call("ADD", makePod(t), change);
    assert.equal(exitCode, 1, about);
    assert.doesNotMatch(stdout.trimEnd(), /\n/, about);
    assert.doesNotMatch(stderr, /"code"|"msg"/, about);
  }
});

test("18.3 no refused ADD says that the container is unknown: the runtime would leave out its DEL", async (t) => {
  for (const { about, change } of refusals(t)) {
    const pod = makePod(t);
    assert.notEqual(errorOf(await node.call("ADD", pod, change)).code, 3, about);
  }
});

test("18.4 50 and 51 are STATUS's own: no other verb answers them", async (t) => {
  for (const { about, change } of refusals(t)) {
    for (const verb of ["ADD", "CHECK", "DEL"]) {
      const outcome = await node.call(verb, makePod(t), change);
      if (outcome.exitCode !== 0) assert.ok(![50, 51].includes(errorOf(outcome).code), `${about} ${verb}`);
    }
  }
});

test("18.5 foreign text in a message is cut, and has nothing in it that a terminal obeys", async (t) => {
  const nasty = `\u001b[31m${"x".repeat(50_000)}\u0007\u202e\n`;
  const changes: CallChange[] = [
    { env: { CNI_CONTAINERID: nasty } },
    { env: { CNI_IFNAME: nasty } },
    { env: { CNI_ARGS: nasty } },
    { conf: { name: nasty } },
    { conf: { cniVersion: nasty } },
  ];
  for (const change of changes) {
    const { msg, details = "" } = errorOf(await node.call("ADD", makePod(t), change));
    assert.ok(msg.length + details.length < 9000, `${msg.length} characters`);
    assert.doesNotMatch(msg + details, /[\p{Cc}\u202e]/u);
  }
});

test("18.6 an answer that cannot be written is a failure, and DEL takes the pod away", async (t) => {
  for (const redirection of [">/dev/full", ">&-"]) {
    const pod = makePod(t);
    const { exitCode } = await node.call("ADD", pod, { around: `exec "$0" ${redirection}`, judged: false });
    assert.notEqual(exitCode, 0, redirection);
    silent(await node.call("DEL", pod));
  }
  await bare(node);
});

test("18.7 the agent's log at its loudest never comes out of the plugin", async (t) => {
  const loud = makeProcessNode(t);
  await loud.start();
  const pod = makePod(t);
  const outcome = await loud.call("ADD", pod);
  const prevResult = resultOf(outcome);
  assert.equal(outcome.stderr, "");
  reachable(loud, pod.ns, prevResult);
  for (const verb of ["CHECK", "STATUS", "GC", "DEL"]) silent(await loud.call(verb, pod, { conf: { prevResult } }));
  const failed = await loud.call("ADD", pod, { conf: { name: "" } });
  refused(failed, 7);
  assert.equal(failed.stderr, "");
  assert.match(v4Of(prevResult), /^10\.4\.1\./);
});

test("18.8 the plugin ends where its caller has closed every descriptor", async (t) => {
  const pod = makePod(t);
  const { exitCode, signal, tookMs } = await node.call("ADD", pod, { around: 'exec "$0" <&- >&- 2>&-', judged: false });
  assert.equal(signal, null);
  assert.notEqual(exitCode, 0);
  assert.ok(tookMs < 5000);
  silent(await node.call("DEL", pod));
});

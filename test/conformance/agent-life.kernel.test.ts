// Conformance 16, third part: the agent ends in order or is another version than the plugin: every call is answered, nothing leaks.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, connect, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { test } from "node:test";
import { until } from "../until.ts";
import { makeProcessNode } from "./agent-process.ts";
import { bare, reachable } from "./eyes.ts";
import { makePod, recorded, type Scope, startNode, type TestNode } from "./node.ts";
import { refused, resultOf, silent } from "./runtime.ts";

test("16.9 SIGTERM under many ADDs: each call is answered, most of them by the next agent, and nothing is lost", async (t) => {
  const node = makeProcessNode(t);
  await node.start();
  const pods = Array.from({ length: 20 }, () => makePod(t));
  const env = { FAIRLEAD_CONNECT_MS: "5000" }; // the most that the plugin waits
  const outcomes = Promise.all(pods.map((pod) => node.call("ADD", pod, { env })));
  await until("some are attached", async () => (await recorded(node.socket)).length >= 3);
  assert.equal(await node.stop(), 0, "the agent ends in order");
  await node.start();
  for (const [index, outcome] of (await outcomes).entries()) {
    const pod = pods[index] ?? makePod(t);
    const prevResult = resultOf(outcome);
    silent(await node.call("CHECK", pod, { conf: { prevResult } }));
    reachable(node, pod.ns, prevResult);
  }
  for (const pod of pods) silent(await node.call("DEL", pod));
  await bare(node);
  assert.deepEqual(await recorded(node.socket), []);
});

/** Where the version stands in a frame: two bytes behind its magic. */
const versionAt = 5;

/** Raises the version of the first frame that passes. */
function raised(): Transform {
  let passed = 0;
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      const bytes = Buffer.from(chunk);
      const at = versionAt - passed;
      if (at >= 0 && at < bytes.length) bytes[at] = (bytes[at] ?? 0) + 1;
      passed += bytes.length;
      done(null, bytes);
    },
  });
}

/** A way to the agent on which answers, and perhaps questions too, are of a later version. Gives its socket. */
async function laterVersion(t: Scope, node: TestNode, { questions }: { questions: boolean }): Promise<string> {
  const { socket } = node.agent.config.paths;
  node.agent.audit.expectDamage(/later\.sock is there/, "it must lie beside the agent's, where kept DELs are left");
  const way = join(dirname(socket), "later.sock");
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (plugin) => {
    const agent = connect({ path: socket, allowHalfOpen: true });
    for (const end of [plugin, agent]) open.add(end.on("error", () => {}));
    if (questions) plugin.pipe(raised()).pipe(agent);
    else plugin.pipe(agent);
    agent.pipe(raised()).pipe(plugin);
  }).listen(way);
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const end of open) end.destroy();
  });
  return way;
}

test("16.10 a plugin of a later version than the agent: ADD may be tried again, DEL is kept and done", async (t) => {
  const node = await startNode(t);
  const env = { FAIRLEAD_SOCKET: await laterVersion(t, node, { questions: true }) };
  const [pod, other] = [node.pod(t), node.pod(t)];
  await node.add(pod);
  refused(await node.call("ADD", other, { env }), 11, "version");
  assert.equal((await recorded(node.agent.config.paths.socket)).length, 1);
  silent(await node.call("DEL", pod, { env }));
  await until("the DEL is done", async () => (await recorded(node.agent.config.paths.socket)).length === 0);
  await bare(node);
});

test("16.11 a plugin of an earlier version than the agent: an ADD whose answer it cannot read is taken back by its DEL", async (t) => {
  const node = await startNode(t);
  const env = { FAIRLEAD_SOCKET: await laterVersion(t, node, { questions: false }) };
  const pod = node.pod(t);
  refused(await node.call("ADD", pod, { env }), 11, "version");
  silent(await node.call("DEL", pod, { env }));
  await until("the DEL is done", async () => (await recorded(node.agent.config.paths.socket)).length === 0);
  await bare(node);
  reachable(node, pod.ns, await node.add(pod));
});

// The agent's sockets while others meddle with them, and at the agent's end: nobody's call is lost, nobody's socket is taken.

import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { startTestAgent, type TestAgent } from "../../test/agent.ts";
import { silentLog } from "../base/log.ts";
import { decodeReply, encodeRequest } from "../cni/wire.ts";
import { openSockets } from "./sockets.ts";

test("a stopping agent leaves the socket of its successor alone", async (t) => {
  const agent = await startTestAgent(t);
  const { socket } = agent.config.paths;
  rmSync(socket);
  const successor = createServer();
  await new Promise<void>((done) => successor.listen(socket, done));
  t.after(() => successor.close());
  await agent.stop();
  assert.ok(existsSync(socket));
  await new Promise((done) => successor.close(done)); // takes its socket along
});

/** Calls of STATUS whose callers have connected, and no more. */
function callers({ config }: TestAgent, count: number): Socket[] {
  return Array.from({ length: count }, () => connect({ path: config.paths.socket, allowHalfOpen: true }));
}

async function statusBy(socket: Socket): Promise<number> {
  const stdin = Buffer.from(JSON.stringify({ cniVersion: "1.1.0", name: "fairlead", type: "fairlead-cni" }));
  socket.end(encodeRequest({ env: new Map([["CNI_COMMAND", "STATUS"]]), stdin }));
  return decodeReply(await buffer(socket)).exitCode;
}

test("who has connected when an agent is told to stop is answered", async (t) => {
  const agent = await startTestAgent(t);
  const sockets = callers(agent, 100);
  const stopped = agent.stop(); // before the event loop has let anybody in
  assert.deepEqual([...new Set(await Promise.all(sockets.map(statusBy)))], [0]);
  await stopped;
});

test("where one socket cannot be opened the others are closed again", async () => {
  const closed: string[] = [];
  const good = { path: "/nowhere/good", open: async () => async () => void closed.push("good") };
  const bad = { path: "/nowhere/bad", open: () => Promise.reject(new Error("no")) };
  const deps = { sockets: [good, bad], onReopened: () => {}, log: silentLog(), metrics: { repaired: () => {} } };
  await assert.rejects(
    openSockets(deps, new AbortController().signal, () => {}),
    /no/,
  );
  assert.deepEqual(closed, ["good"]);
});

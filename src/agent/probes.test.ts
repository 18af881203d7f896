// The port of a kubelet's probes: alive from the first moment, ready when the agent says so, and no word more.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isFault } from "../base/fault.ts";
import { type Probes, serveProbes } from "./probes.ts";

async function startProbes(t: TestContext): Promise<Probes & { statusSocket: string; ask: typeof ask }> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-probes-"));
  const statusSocket = join(directory, "status.sock");
  const probes = await serveProbes({ port: 0, statusSocket });
  t.after(async () => {
    await probes.stop();
    rmSync(directory, { recursive: true });
  });
  const ask = async (path: string, method = "GET"): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${probes.port}${path}`, { method });
    return [response.status, await response.text()];
  };
  return { ...probes, statusSocket, ask };
}

/** An agent's status socket that answers /readyz so. */
async function agentThatSays(t: TestContext, socket: string, answer: [number, string] | "nothing"): Promise<void> {
  const server = createServer((request, response) => {
    assert.equal(request.url, "/readyz");
    if (answer === "nothing") return;
    response.writeHead(answer[0]);
    response.end(answer[1]);
  });
  await new Promise<void>((done) => server.listen(socket, done));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
}

test("an agent that does not serve yet is alive and not ready", async (t) => {
  const { ask } = await startProbes(t);
  assert.deepEqual(await ask("/healthz"), [200, "ok\n"]);
  const [status, text] = await ask("/readyz");
  assert.equal(status, 503);
  assert.match(text, /does not serve: .*ENOENT/);
});

test("readiness is the agent's own word, with its reason", async (t) => {
  const { ask, statusSocket } = await startProbes(t);
  await agentThatSays(t, statusSocket, [503, "guard: failed 5 times\n"]);
  assert.deepEqual(await ask("/readyz"), [503, "guard: failed 5 times\n"]);
});

test("a ready agent is ready", async (t) => {
  const { ask, statusSocket } = await startProbes(t);
  await agentThatSays(t, statusSocket, [200, "ok\n"]);
  assert.deepEqual(await ask("/readyz"), [200, "ok\n"]);
});

test("an agent that says nothing is not ready, and that is said before a kubelet gives up", async (t) => {
  const { ask, statusSocket } = await startProbes(t);
  await agentThatSays(t, statusSocket, "nothing");
  const begunMs = performance.now();
  const [status, text] = await ask("/readyz");
  assert.equal(status, 503);
  assert.match(text, /no answer within 1000 ms/);
  assert.ok(performance.now() - begunMs < 5000);
});

test("nothing else is told to whoever reaches the port", async (t) => {
  const { ask, statusSocket } = await startProbes(t);
  await agentThatSays(t, statusSocket, [200, "ok\n"]);
  for (const path of ["/", "/pods", "/status", "/metrics", "/readyz?x"]) assert.equal((await ask(path))[0], 404, path);
  assert.equal((await ask("/healthz", "POST"))[0], 404);
});

test("a port that is taken ends the start, and the fault names it", async (t) => {
  const { port, statusSocket } = await startProbes(t);
  await assert.rejects(serveProbes({ port, statusSocket }), (error) => {
    assert.ok(isFault(error, "io-failure"));
    assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port}; give it another probes\\.port`));
    return true;
  });
});

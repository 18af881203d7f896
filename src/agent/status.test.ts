// The read-only socket over HTTP: readiness, what it counts, and that it answers questions only.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { testAttachment } from "../../test/store.contract.ts";
import { present } from "../base/assert.ts";
import type { LoopStatus } from "../base/loop.ts";
import { createMetrics } from "../base/metrics.ts";
import { createMemoryStore } from "../ipam/memory-store.ts";
import { openPool, type Pool } from "../ipam/pool.ts";
import { parseCidr } from "../net/cidr.ts";
import { serveStatus, statusSocket } from "./status.ts";
import type { Uplink } from "./uplink.ts";

interface Stand {
  pool: Pool;
  loops: LoopStatus[];
  ask: (path: string, method?: string) => Promise<{ status: number | undefined; body: string }>;
}

const uplink: Uplink = {
  link: { index: 2, name: "eth0", kind: "", mtu: 1500, up: true, running: true, group: 0, alias: "" },
  addresses: {},
  subnets: [],
  mtu: 1500,
};

async function stand(t: TestContext): Promise<Stand> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-status-"));
  const socket = join(directory, "cni.sock");
  const blocks = [present(parseCidr("10.4.1.0/29"), "block")];
  const pool = openPool({ blocks, store: createMemoryStore() });
  const loops: LoopStatus[] = [];
  const stop = await serveStatus({
    socket,
    nodeName: "node-1",
    version: "test",
    startedMs: performance.now(),
    pool,
    uplink: () => uplink,
    loops: () => loops,
    gateDepth: () => ({ working: 3, waiting: 4 }),
    metrics: createMetrics(),
    kernelCalls: () => ({ route: 0, nftables: 0, removal: 0 }),
    masquerade: () => undefined,
    policing: {
      report: () => undefined,
      flows: () => undefined,
      readings: async () => [],
      answer: async () => undefined,
    },
    caches: () => [{ kind: "Pod", objects: 3, lists: 1, watches: 1, events: 0, unreadable: 0, failures: 2 }],
    diagnose: async () => [],
  });
  t.after(async () => {
    await stop();
    rmSync(directory, { recursive: true });
  });
  const ask: Stand["ask"] = async (path, method = "GET") => {
    const response = await new Promise<IncomingMessage>((done, failed) => {
      request({ socketPath: statusSocket(socket), path, method }, done)
        .once("error", failed)
        .end();
    });
    return { status: response.statusCode, body: await text(response) };
  };
  return { pool, loops, ask };
}

const loop = (name: string, failures: number): LoopStatus => ({
  name,
  passes: 9,
  failures,
  lastPass: { name, ok: failures === 0, durationMs: 1, error: new Error("no such table") },
});

test("readiness is 503 with the reason where a loop that pods hang on is broken", async (t) => {
  const { loops, ask } = await stand(t);
  assert.deepEqual(await ask("/readyz"), { status: 200, body: "ok\n" });
  loops.push(loop("reaper", 99), loop("guard", 3));
  assert.deepEqual(await ask("/readyz"), { status: 503, body: "guard: no such table\n" });
  assert.deepEqual(await ask("/healthz"), { status: 200, body: "ok\n" });
});

test("gauges are what is so when they are asked for", async (t) => {
  const { pool, loops, ask } = await stand(t);
  for (const containerId of ["a", "b"]) pool.reserve(testAttachment({ containerId }));
  pool.release(testAttachment({ containerId: "a" }), { cool: true });
  loops.push(loop("guard", 2));
  const { body } = await ask("/metrics");
  assert.match(body, /^fairlead_kube_objects\{kind="Pod"\} 3$/m);
  assert.match(body, /^fairlead_kube_watch_failures\{kind="Pod"\} 2$/m);
  for (const line of [
    'fairlead_leases{family="4",state="live"} 1',
    'fairlead_leases{family="4",state="cooling"} 1',
    'fairlead_leases{family="4",state="free"} 3',
    'fairlead_attachments{state="planned"} 1',
    'fairlead_cni_calls{state="working"} 3',
    'fairlead_loop_failures{loop="guard"} 2',
  ]) {
    assert.ok(body.split("\n").includes(line), `${line} in:\n${body}`);
  }
});

test("what it does not know, and whatever is no question, is 404 and says what there is", async (t) => {
  const { ask } = await stand(t);
  for (const [path, method] of [
    ["/", "GET"],
    ["/status", "POST"],
    ["/pods/c1", "DELETE"],
  ] as const) {
    const { status, body } = await ask(path, method);
    assert.equal(status, 404, `${method} ${path}`);
    assert.match(body, /ask GET \/status, \/pods, \/check, \/flows, \/policy, \/metrics, \/healthz, \/readyz/);
  }
});

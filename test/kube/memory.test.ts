// What a cache costs: 20,000 pods as clusters have them, followed from a server, and the heap that they leave behind.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { pods } from "../../src/kube/core-objects.ts";
import { startPair } from "./client.ts";

const count = 20_000;
const pageLen = 500;
const heapMaxBytes = 25_000_000;

/** A pod of a Deployment as a server sends it, about 3.3 KB of it. */
function podOf(index: number): object {
  const id = index.toString(36).padStart(5, "0");
  const app = `app-${index % 200}`;
  const container = {
    name: "main",
    image: `example.org/team/${app}:v1.${index % 7}`,
    ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }],
    env: Array.from({ length: 8 }, (_, n) => ({ name: `SETTING_${n}`, value: `value-of-${n}-${id}` })),
    resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } },
    volumeMounts: [
      { name: "kube-api-access", readOnly: true, mountPath: "/var/run/secrets/kubernetes.io/serviceaccount" },
    ],
    terminationMessagePath: "/dev/termination-log",
    imagePullPolicy: "IfNotPresent",
  };
  const time = "2026-11-26T12:00:00Z";
  return {
    metadata: {
      name: `${app}-5d4f8c7b9-${id}`,
      generateName: `${app}-5d4f8c7b9-`,
      namespace: `team-${index % 40}`,
      uid: `11111111-2222-4333-8444-${index.toString(16).padStart(12, "0")}`,
      resourceVersion: String(1_000_000 + index),
      creationTimestamp: time,
      labels: { app, "pod-template-hash": "5d4f8c7b9", "app.kubernetes.io/part-of": `system-${index % 20}` },
      ownerReferences: [
        { apiVersion: "apps/v1", kind: "ReplicaSet", name: `${app}-5d4f8c7b9`, uid: "9".repeat(36), controller: true },
      ],
      managedFields: Array.from({ length: 2 }, () => ({
        manager: "kubelet",
        time,
        fieldsV1: { "f:status": { "f:podIP": {} } },
      })),
    },
    spec: {
      nodeName: `node-${index % 400}`,
      serviceAccountName: app,
      containers: [container],
      volumes: [{ name: "kube-api-access", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } }],
      tolerations: [{ key: "node.kubernetes.io/not-ready", operator: "Exists", effect: "NoExecute" }],
    },
    status: {
      phase: "Running",
      podIP: `10.4.${index >> 8}.${index & 255}`,
      podIPs: [{ ip: `10.4.${index >> 8}.${index & 255}` }, { ip: `fd00:10::${index.toString(16)}` }],
      conditions: ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => ({
        type,
        status: "True",
        lastProbeTime: null,
        lastTransitionTime: time,
      })),
      containerStatuses: [
        { ...container, containerID: `containerd://${"a".repeat(64)}`, state: { running: { startedAt: time } } },
      ],
    },
  };
}

/** Turns of the event loop, at most, until what the last page left behind (its text, answers that were read) is let go. */
const settleTurnsMax = 20;

async function collectedHeapBytes(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  let least = Infinity;
  for (let turn = 0; turn < settleTurnsMax; turn += 1) {
    await new Promise((done) => setImmediate(done));
    collect();
    least = Math.min(least, process.memoryUsage().heapUsed);
  }
  return least;
}

test("20,000 pods cost at most 25 MB of heap", async (t) => {
  const { server, kube } = await startPair(t, { limits: { watchIdleMs: 600_000 } });
  let sentBytes = 0;
  server.whim = ({ query }) => {
    if (query.get("watch") === "1") return undefined;
    const from = Number(query.get("continue") ?? "0");
    const next = from + pageLen;
    const items = Array.from({ length: pageLen }, (_, index) => podOf(from + index));
    const metadata = { resourceVersion: "2000000", ...(next < count ? { continue: String(next) } : {}) };
    const body = JSON.stringify({ metadata, items });
    sentBytes += body.length;
    return { answer: 200, body };
  };
  await kube.raw("/api/v1/warm-up");
  sentBytes = 0;
  const before = await collectedHeapBytes();
  const stop = new AbortController();
  const cache = kube.follow(pods, { signal: stop.signal });
  const startedMs = performance.now();
  await cache.whenSynced(90_000, stop.signal);
  const tookMs = performance.now() - startedMs;
  const heapBytes = (await collectedHeapBytes()) - before;
  t.diagnostic(
    `${count} pods of ${Math.round(sentBytes / count)} bytes: ${(heapBytes / 1e6).toFixed(1)} MB of heap, listed in ${Math.round(tookMs)} ms`,
  );
  assert.equal(cache.all().length, count);
  assert.ok(sentBytes / count > 2500, "pods as small as these prove nothing");
  assert.ok(heapBytes <= heapMaxBytes, `${heapBytes} bytes`);
  stop.abort();
  await cache.done;
});

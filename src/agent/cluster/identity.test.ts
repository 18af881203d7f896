// Whose sandbox it is: every pod that a runtime may name, against what the cache and the API server say.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault, isFault } from "../../base/fault.ts";
import { silentLog } from "../../base/log.ts";
import { openPool } from "../../ipam/pool.ts";
import { createMemoryStore } from "../../ipam/memory-store.ts";
import type { Kube } from "../../kube/contract.ts";
import { nodes, type Pod, pods } from "../../kube/core-objects.ts";
import { testAttachment, testIp } from "../../../test/store.contract.ts";
import { publishedEndpoints, wantedEndpoints } from "./endpoints.ts";
import { createAdmission, type SandboxPod } from "./identity.ts";

const pod = (uid: string, part: { node?: string; mirrorOf?: string } = {}): Pod =>
  pods.parse({
    metadata: {
      name: "web-0",
      namespace: "shop",
      uid,
      ...(part.mirrorOf === undefined ? {} : { annotations: { "kubernetes.io/config.mirror": part.mirrorOf } }),
    },
    spec: { nodeName: part.node ?? "a" },
  });

const unreachable = new Fault("kube-unreachable", "no answer");

/** Admits a sandbox where the cache holds one pod and the server answers with another; gives the questions asked, or throws. */
async function admit(
  sandbox: Partial<SandboxPod>,
  cached: Pod | undefined,
  server: Pod | Fault,
  failures = 0,
): Promise<number> {
  let asked = 0;
  const get = async (): Promise<Pod> => {
    asked += 1;
    if (server instanceof Fault) throw server;
    return server;
  };
  const admission = admissionOf({ get, cached, failures, clock: () => 0, silentMs: () => 0 });
  await admission({ namespace: "shop", name: "web-0", uid: "u1", ...sandbox });
  return asked;
}

interface Around {
  get: () => Promise<Pod>;
  cached: Pod | undefined;
  failures: number;
  clock: () => number;
  silentMs: () => number;
}

function admissionOf({ get, cached, failures, clock, silentMs }: Around): (sandbox: SandboxPod) => Promise<unknown> {
  return createAdmission({
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one call that admission makes
    kube: { get } as Partial<Kube> as Kube,
    cache: {
      get: () => cached,
      status: () => ({ kind: "Pod", objects: 0, lists: 1, watches: 1, events: 0, unreadable: 0, failures }),
      silentMs,
    },
    nodeName: "a",
    log: silentLog(),
    signal: new AbortController().signal,
    clock,
  });
}

const replaced = (error: unknown): boolean => isFault(error, "pod-replaced");

void test("a pod that the cache knows costs no question", async () => {
  assert.equal(await admit({}, pod("u1"), unreachable), 0);
});

void test("a static pod is known by its mirror, whose uid is another", async () => {
  assert.equal(await admit({ uid: "hash" }, pod("u9", { mirrorOf: "hash" }), unreachable), 0);
  assert.equal(await admit({ uid: "hash" }, undefined, pod("u9", { mirrorOf: "hash" })), 1);
});

void test("a cache that is behind is set right by one question", async () => {
  assert.equal(await admit({ uid: "u2" }, pod("u1"), pod("u2")), 1);
  assert.equal(await admit({}, undefined, pod("u1")), 1);
});

void test("the sandbox of a pod whose name another has now is refused", async () => {
  await assert.rejects(admit({ uid: "u1" }, pod("u2"), pod("u2")), replaced);
  await assert.rejects(admit({ uid: "u1" }, undefined, pod("u2", { node: "b" })), replaced);
});

void test("a pod that is bound to another node is refused", async () => {
  await assert.rejects(admit({}, undefined, pod("u1", { node: "b" })), /bound to node b/);
});

void test("a pod that the server does not know yet, or any in an outage, is attached", async () => {
  assert.equal(await admit({}, undefined, new Fault("kube-not-found", "none")), 1);
  assert.equal(await admit({ uid: "u2" }, pod("u1"), unreachable), 1);
});

void test("while the API server is known not to answer, it is not asked", async () => {
  assert.equal(await admit({}, undefined, unreachable, 1), 0);
});

void test("a server that gave no answer is left alone for ten seconds, or until it is heard of; one that answered badly is not", async () => {
  let [nowMs, heardMs, asked] = [100_000, 95_000, 0];
  let answer: Pod | Fault = unreachable;
  const get = async (): Promise<Pod> => {
    asked += 1;
    nowMs += 2_000;
    if (answer instanceof Fault) throw answer;
    return answer;
  };
  const around = { get, cached: undefined, failures: 0, clock: () => nowMs, silentMs: () => nowMs - heardMs };
  const admission = admissionOf(around);
  const admitAt = async (ms: number): Promise<number> => {
    nowMs = ms;
    await admission({ namespace: "shop", name: "web-0", uid: "u1" });
    return asked;
  };
  assert.equal(await admitAt(100_000), 1, "it has to be asked to be known as silent");
  assert.equal(await admitAt(102_000), 1);
  assert.equal(await admitAt(109_999), 1);
  assert.equal(await admitAt(110_000), 2, "once in ten seconds");
  heardMs = 111_000; // while it was asked
  answer = pod("u2");
  await assert.rejects(admitAt(112_000), replaced, "heard of, and asked");
  answer = new Fault("kube-busy", "too many");
  assert.equal(await admitAt(113_000), 4);
  assert.equal(await admitAt(113_500), 5, "it answers");
});

void test("endpoints carry the API server's uid: the mirror's for a static pod, as soon as there is one", () => {
  const pool = openPool({ blocks: [], store: createMemoryStore() });
  const serving = { namespace: "shop", name: "web-0", uid: "hash" };
  pool.restore(testAttachment({ pod: serving }));
  pool.restore(testAttachment({ containerId: "c2", addresses: [testIp("10.4.1.2")] })); // not Kubernetes'
  const uids = (known: Pod | undefined): string[] =>
    publishedEndpoints(pool.all(), { get: () => known }).map(({ uid }) => uid);
  assert.deepEqual(uids(undefined), ["hash"]);
  assert.deepEqual(uids(pod("u9", { mirrorOf: "hash" })), ["u9"]);
  assert.deepEqual(uids(pod("other")), ["hash"]);
});

void test("an attachment is published from the end of its ADD until its DEL begins", () => {
  const pool = openPool({ blocks: [], store: createMemoryStore() });
  const attachment = testAttachment({ pod: { namespace: "shop", name: "web-0", uid: "u1" } });
  let told = 0;
  pool.watch(() => (told += 1));
  const published = (): number => publishedEndpoints(pool.all(), { get: () => undefined }).length;
  pool.restore(attachment);
  assert.deepEqual([published(), told], [1, 1]);
  pool.leave(attachment);
  assert.deepEqual([published(), told], [0, 2]);
  pool.release(attachment, { cool: true });
  assert.deepEqual([published(), told], [0, 3]);
});

void test("the object is written when anything of it differs, and only then", () => {
  const node = nodes.parse({ metadata: { name: "a", uid: "n1" } });
  const endpoint = { namespace: "shop", name: "web-0", uid: "u1", interface: "eth0", addresses: [testIp("10.4.1.1")] };
  const first = wantedEndpoints(undefined, node, [endpoint]);
  assert.ok(first !== undefined);
  assert.equal(wantedEndpoints(first, node, [{ ...endpoint }]), undefined);
  assert.deepEqual(wantedEndpoints(first, node, [])?.endpoints, []);
  const anew = nodes.parse({ metadata: { name: "a", uid: "n2" } });
  assert.equal(wantedEndpoints(first, anew, [endpoint])?.nodeUid, "n2");
});

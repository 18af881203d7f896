// Our own client on the real API server: server-side apply, which only that one can judge, and following a kind through a compacted history.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection, createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { isFault } from "../../src/base/fault.ts";
import { silentLog } from "../../src/base/log.ts";
import { connect } from "../../src/kube/connect.ts";
import type { Kube } from "../../src/kube/contract.ts";
import { type ConfigMap, configMaps } from "../../src/kube/core-objects.ts";
import { until } from "../until.ts";
import { type ControlPlaneAlone, startControlPlaneAlone } from "./control-plane.ts";
import { needsUpstream } from "./upstream.ts";

const namespace = "default";
const map = (name: string, data: Record<string, string>): ConfigMap => ({ metadata: { name, namespace }, data });

/** A client of a server that only a unix socket leads to: a door of its own on this machine's loopback. */
async function openClient({
  socket,
  credentials,
}: ControlPlaneAlone): Promise<{ kube: Kube; close: () => Promise<void> }> {
  const door = createServer((one) => {
    const on = createConnection(socket);
    for (const [from, to] of [[one, on] as const, [on, one] as const]) {
      from.on("error", () => to.destroy());
      from.pipe(to);
    }
  });
  door.listen(0, "127.0.0.1");
  await once(door, "listening");
  const address = present(door.address(), "address");
  assert.ok(typeof address === "object");
  const { ca, cert, key } = credentials;
  const kube = connect({
    address: {
      server: `https://127.0.0.1:${address.port}`,
      serverName: "localhost",
      ca: { text: ca },
      clientCertificate: { certificate: { text: cert }, key: { text: key } },
    },
    userAgent: "client-test",
    log: silentLog(),
  });
  return {
    kube,
    close: async () => {
      await kube.close();
      door.close();
    },
  };
}

void describe("our client on the real API server", needsUpstream("kubernetes"), () => {
  let plane: ControlPlaneAlone | undefined;
  let client: Awaited<ReturnType<typeof openClient>> | undefined;
  const kube = (): Kube => present(client, "client").kube;
  before(
    async () => {
      plane = await startControlPlaneAlone({ name: `kcl${process.pid}` });
      client = await openClient(plane);
    },
    { timeout: 120_000 },
  );
  after(
    async () => {
      await client?.close();
      await plane?.close();
    },
    { timeout: 60_000 },
  );

  test("server-side apply: each manager owns what it applied, another's field is refused or taken by force", async () => {
    const applied = await kube().apply(configMaps, map("ours", { a: "1", b: "2" }), { fieldManager: "one" });
    assert.deepEqual(applied.data, { a: "1", b: "2" });
    const beside = await kube().apply(configMaps, map("ours", { c: "3" }), { fieldManager: "two" });
    assert.deepEqual(beside.data, { a: "1", b: "2", c: "3" }, "what others own stays");
    const taken = map("ours", { a: "9" });
    await assert.rejects(
      kube().apply(configMaps, taken, { fieldManager: "three" }),
      (error: unknown) => isFault(error, "kube-conflict") && /"one".*\.data\.a|\.data\.a/.test(error.message),
    );
    const forced = await kube().apply(configMaps, taken, { fieldManager: "three", force: true });
    assert.deepEqual(forced.data, { a: "9", b: "2", c: "3" });
    const less = await kube().apply(configMaps, map("ours", { a: "9" }), { fieldManager: "three" });
    assert.equal(less.metadata.resourceVersion, forced.metadata.resourceVersion, "the same again changes nothing");
    const withdrawn = await kube().apply(configMaps, map("ours", {}), { fieldManager: "two" });
    assert.deepEqual(withdrawn.data, { a: "9", b: "2" }, "what a manager leaves out goes where nobody else owns it");
  });

  test("a kind is followed: told of each change in order, and again after the server has begun anew", async (t) => {
    const stop = new AbortController();
    t.after(() => stop.abort());
    const told: string[] = [];
    const cache = kube().follow(configMaps, {
      namespace,
      labelSelector: "of=follow",
      signal: stop.signal,
      onChange: ({ before, after }) => {
        const name = (after ?? before)?.metadata.name ?? "";
        told.push(`${before === undefined ? "+" : after === undefined ? "-" : "~"}${name}`);
      },
    });
    await cache.whenSynced(10_000, stop.signal);
    const make = (name: string): Promise<ConfigMap> =>
      kube().create(configMaps, { metadata: { name, namespace, labels: { of: "follow" } }, data: {} });
    await make("f1");
    await kube().patch(configMaps, { name: "f1", namespace }, { type: "merge", body: { data: { a: "1" } } });
    await make("f2");
    await kube().remove(configMaps, { name: "f1", namespace });
    await until("all is told", () => told.length === 4);
    assert.deepEqual(told, ["+f1", "~f1", "+f2", "-f1"]);
    const { kill, start, untilReady } = present(plane, "control plane");
    await kill("kube-apiserver");
    await until("it has noticed", () => cache.status().failures > 0);
    assert.equal(cache.all().length, 1, "an outage empties nothing");
    await start("kube-apiserver");
    await untilReady();
    await make("f3");
    // It waits up to 30 s before it asks a server again that has refused it while starting.
    await until("it goes on", () => told.length === 5, 60_000);
    assert.deepEqual(told.slice(4), ["+f3"]);
  });
});

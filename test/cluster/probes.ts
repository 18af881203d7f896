// Probes and their kin in a real cluster: what the node asks its own pods, and what the API server hands through to them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../lab/waiting.ts";
import { pod, serverPort } from "./objects.ts";
import { makeScene } from "./scene.ts";
import type { Part } from "./suite.ts";

const noticedWithinMs = 60_000;
const closedPort = 9;

const probes = {
  exec: { exec: { command: ["true"] } },
  http: { httpGet: { path: "/hostname", port: serverPort } },
  tcp: { tcpSocket: { port: serverPort } },
};
const failing = {
  exec: { exec: { command: ["false"] } },
  http: { httpGet: { path: "/hostname", port: closedPort } },
  tcp: { tcpSocket: { port: closedPort } },
};

export const probeTests: Part = (cluster) => {
  void test("readiness by exec, HTTP and TCP is what the pod is; failing liveness restarts it in the same sandbox", async (t) => {
    const scene = await makeScene(cluster(), t, "probes");
    const timing = { periodSeconds: 1, failureThreshold: 1 };
    const good = Object.entries(probes).map(([name, probe]) =>
      pod(`good-${name}`, { labels: { app: "good" }, container: { readinessProbe: { ...probe, ...timing } } }),
    );
    const bad = Object.entries(failing).map(([name, probe]) =>
      pod(`bad-${name}`, { labels: { app: "bad" }, container: { readinessProbe: { ...probe, ...timing } } }),
    );
    const restless = pod("restless", {
      container: { livenessProbe: { ...failing.http, ...timing, initialDelaySeconds: 8 } },
    });
    await scene.apply(...good, ...bad, restless);
    await scene.untilReady(good.length, "good");
    const first = (await scene.untilReady(1, "restless"))[0];
    const restarted = async (): Promise<string | undefined> => {
      const [seen] = await scene.pods("restless");
      assert.deepEqual(seen?.addresses, first?.addresses, "the sandbox stays");
      return (seen?.restarts ?? 0) > 0 ? undefined : "no restart";
    };
    await until(restarted, { what: "restart by liveness", withinMs: noticedWithinMs, everyMs: 250 });
    const running = async (): Promise<string | undefined> => {
      const phases = (await scene.pods("bad")).map(({ phase }) => phase);
      return phases.every((phase) => phase === "Running") ? undefined : phases.join(" ");
    };
    await until(running, { what: "pods that run and are never Ready", withinMs: noticedWithinMs, everyMs: 250 });
    assert.deepEqual(
      (await scene.pods("bad")).map(({ ready }) => ready),
      [false, false, false],
      "none of the failing probes passes",
    );
  });

  void test("logs, exec and the API server's proxy reach the pod", async (t) => {
    const scene = await makeScene(cluster(), t, "proxy");
    await scene.apply(pod("web"));
    await scene.untilReady(1);
    assert.equal(await scene.run("web", "hostname", []), "web\n");
    assert.match(await scene.kubectl(["logs", "web"]), /Started HTTP server/);
    const path = `/api/v1/namespaces/${scene.namespace}/pods/web:${serverPort}/proxy/hostname`;
    assert.equal(await scene.kubectl(["get", "--raw", path]), "web");
  });
};

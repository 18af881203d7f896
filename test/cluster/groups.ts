// Security groups in a real cluster: members are judged by rules, edits reach open connections, and what is wrong is told where it was written.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { present } from "../../src/base/assert.ts";
import { until } from "../../lab/waiting.ts";
import { type KubeObject, pod, serverPort } from "./objects.ts";
import { inPod, named, serverUrls, untilReach } from "./reach.ts";
import { makeScene, type Scene } from "./scene.ts";
import type { Part } from "./suite.ts";

/** From the removal of a rule until whoever uses a connection that it allowed is told, as the logs of its pod have it. */
const resetWithinMs = 20_000;
const talkingWithinMs = 60_000;
/** A status is written 5 s after the one before at the earliest, and later where somebody else wrote meanwhile. */
const toldWithinMs = 30_000;
/** What a talker wrote last: an answer without a line's end comes after what ended it. */
const lastLines = 5;

const kinds = { apiVersion: "fairlead.dev/v1alpha1" } as const;

export function group(name: string, spec: Readonly<Record<string, unknown>>): KubeObject {
  return { ...kinds, kind: "SecurityGroup", metadata: { name }, spec: { bindableFrom: {}, ...spec } };
}

export function binding(app: string, ...groups: readonly string[]): KubeObject {
  const spec = { podSelector: { matchLabels: { app } }, groups };
  return { ...kinds, kind: "SecurityGroupBinding", metadata: { name: app }, spec };
}

/** Groups are the cluster's, not a namespace's: removed after the test. */
export function removeAfter(t: TestContext, { kubectl }: Scene, ...names: readonly string[]): void {
  t.after(() => kubectl(["delete", "securitygroups.fairlead.dev", "--ignore-not-found", ...names]));
}

/** One connection on which a request is made every 0.1 s, as long as it stands; curl says what ends it. */
function talker(name: string, app: string, address: string): KubeObject {
  const host = address.includes(":") ? `[${address}]` : address;
  const ask = `printf 'GET /hostname HTTP/1.1\\r\\nHost: talk\\r\\n\\r\\n'`;
  const script = `while sleep 0.1 && ${ask}; do :; done | curl --silent --show-error --no-buffer telnet://${host}:${serverPort}`;
  return pod(name, {
    node: "node-1",
    labels: { app },
    command: ["sh", "-c", script],
    spec: { restartPolicy: "Never" },
  });
}

export const groupTests: Part = (cluster) => {
  void test("members reach each other as rules say, others do not; a rule removed resets what it had allowed", async (t) => {
    const scene = await makeScene(cluster(), t, "groups");
    const [front, back] = ["t-front", "t-back"];
    removeAfter(t, scene, front, back);
    const ingressOfBack = [{ protocol: "tcp", ports: [{ port: serverPort }], from: [{ securityGroup: front }] }];
    await scene.apply(
      group(front, { ingress: [] }),
      group(back, { ingress: ingressOfBack }),
      binding("front", front),
      binding("back", back),
      pod("front", { node: "node-1" }),
      pod("back", { node: "node-2" }),
      pod("unbound", { node: "node-2" }),
    );
    const pods = await scene.untilReady(3);
    const [fromFront, fromBack, fromUnbound] = ["front", "back", "unbound"].map((name) => inPod(scene, name));
    const places = { front: present(fromFront, "front"), back: present(fromBack, "back") };
    const unbound = present(fromUnbound, "unbound");
    const toBack = serverUrls(scene, named(pods, "back"));
    await untilReach("to back", toBack, { open: [places.front], closed: [unbound] });
    await untilReach("to front", serverUrls(scene, named(pods, "front")), { closed: [places.back, unbound] });
    await untilReach("to the unbound", serverUrls(scene, named(pods, "unbound")), {
      open: [places.front, places.back],
    });

    const talkers = cluster().options.families.map((family) => `talk-v${family}`);
    const addresses = cluster().options.families.map((family) => named(pods, "back").addresses[family]);
    await scene.apply(
      ...talkers.map((name, index) => talker(name, "front", present(addresses[index], "address of back"))),
    );
    for (const name of talkers) {
      const answered = async () => ((await scene.kubectl(["logs", name])).includes("back") ? undefined : "no answer");
      await until(answered, { what: `${name} talks`, withinMs: talkingWithinMs, everyMs: 200, mayFail: true });
    }
    await scene.apply(group(back, { ingress: [] }));
    const removedMs = performance.now();
    const reset = async (): Promise<string | undefined> => {
      const texts = await Promise.all(talkers.map((name) => scene.kubectl(["logs", `--tail=${lastLines}`, name])));
      const open = texts.find((text) => !text.includes("Connection reset by peer"));
      return open === undefined ? undefined : JSON.stringify(open);
    };
    await until(reset, { what: "reset", withinMs: resetWithinMs, everyMs: 50, mayFail: true });
    t.diagnostic(`reset within ${Math.round(performance.now() - removedMs)} ms`);
    await untilReach("to back, without a rule", toBack, { closed: [places.front, unbound] });
    await scene.untilReady(1, "back");
  });

  void test("a group that makes no sense is refused in our words; a binding is told which group it may not have", async (t) => {
    const scene = await makeScene(cluster(), t, "groups-told");
    const name = "t-elsewhere";
    removeAfter(t, scene, name, "t-bad");
    const bad = group("t-bad", { ingress: [{ ports: [{ port: 80 }], from: [{ cidr: "192.0.2.0/24" }] }] });
    await assert.rejects(scene.apply(bad), /ports need protocol tcp, udp or sctp/);
    const good = group("t-bad", {
      ingress: [{ protocol: "tcp", ports: [{ port: 80 }], from: [{ cidr: "192.0.2.0/24" }] }],
    });
    await scene.apply(good);

    const elsewhere = { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } };
    await scene.apply(group(name, { bindableFrom: elsewhere, ingress: [] }), binding("web", name), pod("web"));
    const path = "{.status.conditions[0].reason}: {.status.conditions[0].message}";
    const words = `NotBindable: SecurityGroup ${name} may not be bound from namespace ${scene.namespace} (its bindableFrom): it allows these pods nothing`;
    const told = (expected: string) => async (): Promise<string | undefined> => {
      const text = await scene.field("securitygroupbinding.fairlead.dev/web", path);
      return text === expected ? undefined : JSON.stringify(text);
    };
    await until(told(words), { what: "status", withinMs: toldWithinMs, everyMs: 100 });
    // No member, and not open either.
    await scene.apply(pod("caller"));
    const urls = serverUrls(scene, named(await scene.untilReady(2), "web"));
    await untilReach("a pod without its only group", urls, { closed: [inPod(scene, "caller")] });
    await scene.apply(group(name, { ingress: [{ from: [{ namespaceSelector: {} }] }] }));
    await until(told("Accepted: all of it counts"), { what: "status", withinMs: toldWithinMs, everyMs: 100 });
    await untilReach("a pod with its group", urls, { open: [inPod(scene, "caller")] });
  });
};

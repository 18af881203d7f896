// Traffic that goes on between pods of a real cluster whatever becomes of the cluster's own programs, and the count of what was lost.

import assert from "node:assert/strict";
import { present } from "../../src/base/assert.ts";
import { until } from "../../lab/waiting.ts";
import { pod, serverPort } from "./objects.ts";
import type { Scene } from "./scene.ts";

/** Echo requests a second, of each pair and family; TCP requests a second on one connection that lasts. */
const pingsPerS = 20;
const requestsPerS = 10;
/** More than any test lasts. */
const requestsMax = 100_000;
/** The least that must have passed for "nothing was lost" to mean something. */
const pingsMin = 100;
const countWithinMs = 30_000;

export interface Traffic {
  /** Ends it, and fails where a single packet was lost or the connection broke. Gives the number of echo requests answered. */
  settle(): Promise<number>;
}

/** Starts pods on both nodes that talk with a pod on node-1: across nodes and on one node, in every family. The API server is not needed until `settle`. */
export async function startTraffic(scene: Scene): Promise<Traffic> {
  const { families } = scene.cluster.options;
  await scene.apply(pod("target", { node: "node-1" }));
  const [target] = await scene.untilReady(1, "target");
  const addressOf = (family: 4 | 6): string => present(target?.addresses[family], "address of target");
  const pingers = ["node-1", "node-2"].flatMap((node) =>
    families.map((family) => {
      const command = ["ping", "-q", "-O", "-i", String(1 / pingsPerS), "-W", "5", addressOf(family)];
      return pod(`ping-${node}-v${family}`, {
        node,
        command,
        labels: { app: "ping" },
        spec: { restartPolicy: "Never" },
      });
    }),
  );
  const talkers = ["node-1", "node-2"].flatMap((node) =>
    families.map((family) =>
      pod(`talk-${node}-v${family}`, {
        node,
        command: talk(addressOf(family)),
        labels: { app: "talk" },
        spec: { restartPolicy: "Never" },
      }),
    ),
  );
  await scene.apply(...pingers, ...talkers);
  await scene.untilReady(pingers.length, "ping");
  await scene.untilReady(talkers.length, "talk");
  return { settle: () => settle(scene) };
}

/** One connection, on which curl asks again and again; the first failure ends it. Brackets that are no pattern have a backslash. */
function talk(address: string): string[] {
  const host = address.includes(":") ? `\\[${address}\\]` : address;
  const options = `--silent --show-error --fail --fail-early --max-time 5 --rate ${requestsPerS}/s --output /dev/null`;
  return ["curl", ...options.split(" "), `http://${host}:${serverPort}/echo?msg=[1-${requestsMax}]`];
}

async function settle(scene: Scene): Promise<number> {
  for (const { name, phase, restarts } of await scene.pods("talk")) {
    const said = phase === "Running" ? "" : await scene.kubectl(["logs", name]);
    assert.deepEqual([phase, restarts], ["Running", 0], `the connection of ${name} lasts: ${said}`);
  }
  let answered = 0;
  for (const { name } of await scene.pods("ping")) {
    const { sent, received } = await endPing(scene, name);
    assert.equal(received, sent, `${name}: ${sent - received} of ${sent} echo requests were lost`);
    assert.ok(sent >= pingsMin, `${name} sent ${sent} echo requests only`);
    answered += received;
  }
  return answered;
}

/**
 * ping counts up when it is interrupted (ping(8)). The answer to its last request may be on the way then; of any other that
 * has no answer it says so when it sends the next one.
 */
async function endPing(scene: Scene, name: string): Promise<{ sent: number; received: number }> {
  let text = "";
  const counted = async (): Promise<string | undefined> => {
    // The pod ends with its first process, and `kill` at times before it is done; whether it was obeyed, the count tells.
    await scene.run(name, "kill", ["-INT", "1"]).catch(() => "");
    text = await scene.kubectl(["logs", name]);
    return text.includes("packets transmitted") ? undefined : `it says ${JSON.stringify(text)}`;
  };
  await until(counted, { what: `count of ${name}`, withinMs: countWithinMs, everyMs: 200 });
  const [, sent = "", received = ""] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
  const lastUnderWay = Number(sent) - Number(received) === 1 && !text.includes("no answer yet");
  return { sent: Number(sent) - (lastUnderWay ? 1 : 0), received: Number(received) };
}

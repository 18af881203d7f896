// Pods that start under policy in a real cluster: while somebody calls every address that they may get, none of them answers once.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { all, until } from "../../lab/waiting.ts";
import { readNodes } from "./cluster.ts";
import { deployment, type KubeObject, pod, serverPort } from "./objects.ts";
import { networkPolicy } from "./reach.ts";
import { makeScene, type Scene } from "./scene.ts";
import type { Part } from "./suite.ts";

/** Pods that nobody may reach, and pods beside them whose answers show that callers come in time. */
const closedCount = 20;
const openCount = 3;
const goneWithinMs = 90_000;
/** Rounds of each caller after all pods are Ready, and how long they may take. */
const roundsAfter = 3;
const roundsWithinMs = 30_000;
const silentCode = 28;

/**
 * Calls every address of the /24 that begins with `prefix`, again and again, all of them at the same time. It writes
 * "round" after each, and the address and curl's exit code of what was not silence: an answer, or a refusal by the pod.
 */
function caller(name: string, node: string, prefix: string): KubeObject {
  const options = `--silent --no-progress-meter --parallel --parallel-immediate --parallel-max 300 --connect-timeout 0.4 --max-time 2`;
  const curl = `curl ${options} --output /dev/null --write-out '%{url} %{exitcode}\\n' 'http://${prefix}[2-254]:${serverPort}/hostname'`;
  const told = `while read -r url code; do [ "$code" = ${silentCode} ] || echo "$url $code"; done`;
  const script = `while :; do ${curl} 2>/dev/null | ${told}; echo round; done`;
  return pod(name, { node, command: ["sh", "-c", script], labels: { app: "caller" } });
}

/** Settles when pods of other tests, whose addresses may be called, have gone. */
function untilAlone({ cluster, namespace }: Scene): Promise<void> {
  const path = '{range .items[*]}{.metadata.namespace}{"\\n"}{end}';
  const others = async (): Promise<string | undefined> => {
    const text = await cluster.kubectl(["get", "pods", "--all-namespaces", `--output=jsonpath=${path}`]);
    const found = text.split("\n").find((name) => name.startsWith("t-") && name !== namespace);
    return found === undefined ? undefined : `pods of ${found} are there`;
  };
  return until(others, { what: "end of other tests' pods", withinMs: goneWithinMs, everyMs: 500 });
}

const linesOf = async (scene: Scene, name: string): Promise<string[]> =>
  (await scene.kubectl(["logs", name])).split("\n");
const roundsIn = (lines: readonly string[]): number => lines.filter((line) => line === "round").length;

export const policyStartTests: Part = (cluster) => {
  void test(`${closedCount} pods start at once under default deny, and none answers a caller that does not wait for them`, async (t) => {
    const scene = await makeScene(cluster(), t, "policy-start");
    await untilAlone(scene);
    await scene.apply(
      networkPolicy("deny", { podSelector: { matchLabels: { app: "closed" } }, policyTypes: ["Ingress"] }),
    );
    const node = (await readNodes(cluster().plane)).find(({ metadata }) => metadata.name === "node-1");
    const block = present(
      node?.spec.podCIDRs.find((cidr) => cidr.endsWith(".0/24")),
      "a block of IPv4",
    );
    const prefix = block.slice(0, -"0/24".length);
    const callers = ["node-1", "node-2"].map((name) => `caller-${name}`);
    await scene.apply(...["node-1", "node-2"].map((name) => caller(`caller-${name}`, name, prefix)));
    await scene.untilReady(callers.length, "caller");
    await scene.apply(
      deployment("closed", closedCount, { node: "node-1" }),
      deployment("open", openCount, { node: "node-1" }),
    );
    const closed = await scene.untilReady(closedCount, "closed");
    const open = await scene.untilReady(openCount, "open");
    const before = await all(callers.map((name) => linesOf(scene, name)));
    const more = async (): Promise<string | undefined> => {
      const now = await all(callers.map((name) => linesOf(scene, name)));
      const made = now.map((lines, index) => roundsIn(lines) - roundsIn(before[index] ?? []));
      return Math.min(...made) >= roundsAfter ? undefined : `${made.join(" and ")} rounds more`;
    };
    await until(more, { what: "callers go on", withinMs: roundsWithinMs, everyMs: 500 });
    for (const name of callers) {
      const lines = await linesOf(scene, name);
      const answersOf = (address: string | undefined): string[] =>
        lines.filter((line) => line.startsWith(`http://${address}:`));
      for (const { addresses, name: server } of open)
        assert.ok(answersOf(addresses[4]).length > 0, `${server} answers ${name}`);
      const forbidden = closed.flatMap(({ addresses }) => answersOf(addresses[4]));
      assert.deepEqual(forbidden, [], `answers to ${name}`);
      t.diagnostic(`${roundsIn(lines)} calls of each address by ${name}`);
    }
  });
};

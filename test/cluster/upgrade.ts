// Fairlead is upgraded in a real cluster as docs/install.md tells, and rolled back, while pods talk.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { exec } from "../../lab/exec.ts";
import { readJson } from "../../lab/json.ts";
import { all, until } from "../../lab/waiting.ts";
import { Fault } from "../../src/base/fault.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { manifestText } from "./network-fairlead.ts";
import { makeNextImage, presentImage } from "./next-image.ts";
import { pod } from "./objects.ts";
import { agents, askAgent, controllers, system, untilRolledOut } from "./own.ts";
import { makeScene } from "./scene.ts";
import type { Part } from "./suite.ts";
import { startTraffic } from "./traffic.ts";

const fairlead = fileURLToPath(new URL("../../bin/fairlead", import.meta.url));
const steppedWithinMs = 120_000;
const toldWithinMs = 60_000;
/** The tool itself waits up to 35 s for agents and the API server. */
const askedWithinMs = 60_000;

const statusSchema = z.object({
  versions: z.array(z.object({ version: z.string(), agents: z.number(), controllers: z.number() })),
  findings: z.array(z.object({ code: z.string(), says: z.string() })),
});

interface Versions {
  /** "0.1.0 2 agents 2 controllers", one line a version. */
  lines: string[];
  /** What the tool makes of it; undefined where all are of one version. */
  skew: string | undefined;
}

/** What `fairlead status` tells a person of the versions at work; it ends with 1 where anything is bad, and with more where it cannot tell. */
async function versionsAtWork({ lab, plane, plan }: KubernetesCluster): Promise<Versions> {
  const args = ["status", "--cluster", `--kubeconfig=${plane.kubeconfig}`, "--output=json"];
  const outcome = await exec(fairlead, args, { env: lab.env, netns: plan.control.netns, timeoutMs: askedWithinMs });
  if (outcome.code !== 0 && outcome.code !== 1) throw new Fault("lab-failed", outcome.stderr);
  const { versions, findings } = readJson(statusSchema, outcome.stdout, "fairlead status");
  return {
    lines: versions.map(
      ({ version, agents: ofAgents, controllers: ofControllers }) =>
        `${version}: ${ofAgents} agents, ${ofControllers} controllers`,
    ),
    skew: findings.find(({ code }) => code === "version-skew")?.says,
  };
}

/** Follows a roll-out until both were told: one agent of each version, and that versions are out of step. */
async function untilOutOfStep(cluster: KubernetesCluster, versions: readonly string[]): Promise<void> {
  let [halfWay, told] = [false, false];
  const look = async (): Promise<string | undefined> => {
    const { lines, skew } = await versionsAtWork(cluster);
    halfWay ||= versions.every((version) => lines.some((line) => line.startsWith(`${version}: 1 agents`)));
    told ||= skew !== undefined && versions.every((version) => skew.includes(version));
    return halfWay && told ? undefined : `half way: ${halfWay}, told: ${told}; now ${lines.join("; ")}`;
  };
  await until(look, { what: "a roll-out half way", withinMs: steppedWithinMs, everyMs: 50, mayFail: true });
}

/** Settles when the tool tells exactly this: a pod is Ready a little before its agent has told the cluster its version. */
async function untilAtWork(cluster: KubernetesCluster, wanted: Versions): Promise<void> {
  const look = async (): Promise<string | undefined> => {
    const seen = await versionsAtWork(cluster);
    return isDeepStrictEqual(seen, wanted) ? undefined : JSON.stringify(seen);
  };
  await until(look, { what: wanted.lines.join(", "), withinMs: toldWithinMs, everyMs: 500, mayFail: true });
}

export const upgradeTests: Part = (cluster) => {
  void test("Fairlead is upgraded and rolled back node after node: versions out of step are told in between, pods lose no packet", async (t) => {
    const scene = await makeScene(cluster(), t, "upgrade");
    const { nodes, kubectl, plan, lab, options } = cluster();
    const now = presentImage();
    const folder = mkdtempSync(join(tmpdir(), "fairlead-next-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const next = await makeNextImage(lab, folder);
    await all(nodes.map((node) => node.importImage(next.file)));
    const traffic = await startTraffic(scene);
    const only = (version: string): Versions => ({
      lines: [`${version}: ${nodes.length} agents, 2 controllers`],
      skew: undefined,
    });
    await untilAtWork(cluster(), only(now.version));

    const text = manifestText({ allocateNodeCidrs: options.allocateNodeCidrs, plan });
    await kubectl(["apply", "--filename=-"], { input: text.replaceAll(now.name, next.name) });
    await untilOutOfStep(cluster(), [now.version, next.version]);
    for (const workload of [agents, controllers]) await untilRolledOut(cluster(), workload);
    await untilAtWork(cluster(), only(next.version));
    for (const node of nodes) assert.match(await askAgent(node, "/status"), new RegExp(`"version":"${next.version}"`));
    await scene.apply(...nodes.map(({ name }) => pod(`up-${name}`, { node: name, labels: { app: "up" } })));
    await scene.untilReady(nodes.length, "up");

    await kubectl(["--namespace", system, "rollout", "undo", agents]);
    await untilOutOfStep(cluster(), [now.version, next.version]);
    await untilRolledOut(cluster(), agents);
    await untilAtWork(cluster(), {
      lines: [`${now.version}: ${nodes.length} agents, 0 controllers`, `${next.version}: 0 agents, 2 controllers`],
      skew: `several are at work: ${now.version} ${nodes.length} agents, ${next.version} 2 controllers`,
    });
    await kubectl(["--namespace", system, "rollout", "undo", controllers]);
    await untilRolledOut(cluster(), controllers);
    await untilAtWork(cluster(), only(now.version));
    await scene.apply(...nodes.map(({ name }) => pod(`back-${name}`, { node: name, labels: { app: "back" } })));
    await scene.untilReady(nodes.length, "back");
    t.diagnostic(`${await traffic.settle()} echo requests, none lost`);
  });
};

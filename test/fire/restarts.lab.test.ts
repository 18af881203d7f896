// Agents that restart, are killed and upgraded, a controller that fails over, an API server that is away: traffic feels nothing, and nothing passes that policy denies.

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { exec } from "../../lab/exec.ts";
import { all, until } from "../../lab/waiting.ts";
import { present } from "../../src/base/assert.ts";
import { judgeHistory, titleOf, type Word } from "./history.ts";
import { type FireLab, makeFireLab, monotonicMs } from "./stage.ts";
import { buildTown, databases, quietTown, type Town, type TownState } from "./town.ts";
import { startTraffic } from "./traffic.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** From when something was said, or an agent that was away serves again, until every packet goes by it. */
const delayMs = 3_000;
const nextVersion = "0.1.1-next";

/** The program as a later version has it: the same code under another number. */
function nextProgram(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-next-"));
  t.after(() => rmSync(directory, { recursive: true }));
  // Copied, since a program knows its version by where its code really lies.
  cpSync(join(root, "src"), join(directory, "src"), { recursive: true });
  for (const part of ["node_modules", "build"]) symlinkSync(join(root, part), join(directory, part));
  mkdirSync(join(directory, "bin"));
  cpSync(join(root, "bin/fairlead"), join(directory, "bin/fairlead"));
  const about = readFileSync(join(root, "package.json"), "utf8").replace(
    /"version": "[^"]*"/,
    `"version": "${nextVersion}"`,
  );
  writeFileSync(join(directory, "package.json"), about);
  return join(directory, "bin/fairlead");
}

const network = z.object({ spec: z.object({ agentVersion: z.string() }) });

/** Waits until a node itself says to the cluster that this version runs on it: it serves pods before it has said so. */
async function untilVersion({ api }: FireLab, node: string, version: string): Promise<void> {
  const path = `/apis/fairlead.dev/v1alpha1/nodenetworks/${node}`;
  const other = async (): Promise<string | undefined> => {
    const { agentVersion } = network.parse(await api.must("GET", path)).spec;
    return agentVersion === version ? undefined : `it says ${agentVersion}`;
  };
  await until(other, { what: `${node} runs ${version}`, withinMs: 30_000 });
}

/** Policy as somebody writes it while traffic runs; `words` is all that was said. */
interface Author {
  words: Word[];
  /** Writes; what was written counts once `ready` has settled, where somebody must come first to read it. */
  say: (state: TownState, ready?: () => Promise<void>) => Promise<void>;
}

function startAuthor(town: Town): Author {
  const words: Word[] = [{ fromMs: 0, doneMs: monotonicMs(), passes: town.judgeOf(quietTown) }];
  return {
    words,
    say: async (state, ready) => {
      const fromMs = monotonicMs();
      await town.become(state);
      await ready?.();
      words.push({ fromMs, doneMs: monotonicMs(), passes: town.judgeOf(state) });
    },
  };
}

/** Waits until traffic goes by a change in a rule: both nodes follow the cluster again. */
async function untilFollowed(town: Town, lab: FireLab, from: string, reaches: boolean): Promise<void> {
  const wrong = async (): Promise<string | undefined> => {
    for (const db of databases) {
      const args = ["-c", "1", "-W", "0.5", present(town.pod(db).addresses[4], "address")];
      const { code } = await exec("ping", args, { netns: town.pod(from).netns, env: lab.lab.env });
      if (code !== (reaches ? 0 : 1)) return `${from} ${reaches ? "does not reach" : "reaches"} ${db}`;
    }
    return undefined;
  };
  await until(wrong, { what: "policy is followed", withinMs: 60_000 });
}

test("restart, kill, upgrade, failover and an outage under traffic: nothing allowed is lost, nothing denied passes", async (t) => {
  const lab = await makeFireLab(t, { nodes: 2 });
  const { cluster, kubernetes } = lab;
  const town = await buildTown(lab);
  await town.untilJudged();
  const nodes = [...cluster.nodes.values()];
  const { words, say } = startAuthor(town);
  const streams = databases.map((db) => ({ from: town.pod("always"), to: town.pod(db) }));
  const traffic = await startTraffic(t, town.pods, streams);

  // In order, one after the other, and with a change that comes while nobody is there.
  for (const node of nodes) await node.stopAgent();
  const start = async (as?: string): Promise<void> => void (await all(nodes.map((node) => node.startAgent(as))));
  const startAndFollow = async (from: string): Promise<void> => {
    await start();
    // An agent that serves may judge by what it kept until the cluster has told it all.
    await untilFollowed(town, lab, from, false);
  };
  await say({ ...quietTown, rule: false }, () => startAndFollow("ruled"));
  // By SIGKILL, both at once.
  await all(nodes.map((node) => node.killAgent()));
  await say({ ...quietTown, rule: false, label: false }, () => startAndFollow("labeled"));
  // Another version in the place of this one.
  const program = nextProgram(t);
  await all(nodes.map((node) => node.stopAgent()));
  await start(program);
  for (const { layout } of nodes) await untilVersion(lab, layout.name, nextVersion);
  // The leader dies; whoever comes after it begins with nothing, once the term of the dead one is over.
  await kubernetes.controller.kill();
  await kubernetes.controller.start();
  await say({ ...quietTown, rule: false, label: false, binding: false }, () =>
    untilFollowed(town, lab, "bound", false),
  );
  // Nobody answers, and agents start all the same, by what they have kept.
  kubernetes.apiServer.hang();
  await all(nodes.map((node) => node.killAgent()));
  await start();
  kubernetes.apiServer.wake();
  // Somebody has to lead again first, and the agents have to be told all anew.
  await say(quietTown, async () => {
    for (const from of ["ruled", "labeled", "bound"]) await untilFollowed(town, lab, from, true);
  });

  const seen = await traffic.end();
  const { lost, passed, sure, followedMs } = judgeHistory(words, seen, delayMs);
  t.diagnostic(
    `${seen.times.length} rounds; changes were followed at the latest ${Math.max(...followedMs).toFixed(0)} ms after an agent served`,
  );
  assert.deepEqual(lost, [], "packets that were allowed all the time, and lost");
  assert.deepEqual(passed, [], "packets that were denied all the time, and passed");
  for (const [name, { ended }] of Object.entries(seen.streams)) assert.equal(ended, null, name);
  for (const db of databases) {
    const of = (from: string): { pass: number; deny: number } =>
      present(sure.get(titleOf({ from, to: db, family: 4 })), from);
    assert.ok(of("always").pass > 100 && of("never").deny > 100, "there was traffic all the time");
    for (const from of ["ruled", "labeled", "bound"]) assert.ok(of(from).deny > 0, `${from} was denied for a while`);
  }
});

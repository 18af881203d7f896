// Labs whose maker is killed: their wardens take them down; where those are killed too, the next run does.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { present } from "../src/base/assert.ts";
import { leftovers, removeLab } from "./down.ts";
import { processesWithToken, tokenVariable } from "./process.ts";
import { labEnvironment, readRecord } from "./record.ts";
import { until } from "./waiting.ts";
import { removeOrphan, wardenToken } from "./warden.ts";

const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));

interface Run {
  maker: ChildProcess;
  lab: string;
  token: string;
}

/** Begins a run that holds its lab for long, and waits until `things` things of it are there, and its warden. */
async function begin(t: TestContext, things: number): Promise<Run> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-scenario-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "long.txt");
  writeFileSync(file, "# A long one\n\ncluster routes nodes=2\npod a on node-1\nin node-1 run sleep 100\n");
  const maker = spawn(fairlead, ["lab", "run", file], { stdio: "ignore" });
  const lab = `run${maker.pid}x1`;
  t.after(() => removeLab(lab));
  await until(
    async () => {
      const record = readRecord(lab);
      if ((record?.things ?? []).length < things) return `${record?.things.length ?? 0} things`;
      return processesWithToken(wardenToken(record?.token ?? "")).length === 1 ? undefined : "no warden";
    },
    { what: `${things} things in ${lab}`, withinMs: 60_000 },
  );
  return { maker, lab, token: present(readRecord(lab), "record").token };
}

async function kill(maker: ChildProcess): Promise<void> {
  const ended = once(maker, "exit");
  maker.kill("SIGKILL");
  await ended;
}

const moments: [when: string, things: number][] = [
  ["it makes machines", 2],
  ["it starts agents", 5],
  ["a pod is there", 8],
];

for (const [when, things] of moments) {
  void test(`a maker killed while ${when}: nothing is left, without a word from anybody`, async (t) => {
    const { maker, lab, token } = await begin(t, things);
    await kill(maker);
    const left = (): string[] => [
      ...leftovers(lab, labEnvironment(token)),
      ...leftovers(lab, wardenEnvironment(token)),
    ];
    await until(async () => left()[0], { what: "end of the lab", withinMs: 60_000 });
  });
}

void test("a maker killed together with its warden: who runs next takes the lab down, but none that has a maker or a warden", async (t) => {
  const { maker, lab, token } = await begin(t, 8);
  assert.equal(await removeOrphan(lab), false, "its maker lives");
  const [warden] = processesWithToken(wardenToken(token));
  process.kill(present(warden, "warden").pid, "SIGSTOP");
  await kill(maker);
  assert.equal(await removeOrphan(lab), false, "its warden lives");
  process.kill(present(warden, "warden").pid, "SIGKILL");
  await until(async () => processesWithToken(wardenToken(token)).map(({ pid }) => `${pid} lives`)[0], {
    what: "end of the warden",
    withinMs: 30_000,
  });
  assert.equal(await removeOrphan(lab), true);
  assert.deepEqual(leftovers(lab, labEnvironment(token)), []);
  assert.equal(await removeOrphan(lab), false, "there is none any more");
});

function wardenEnvironment(token: string): Record<string, string> {
  return { [tokenVariable]: wardenToken(token) };
}

// The words of `fairlead lab` as a person uses them: what they print, what they leave, which exit code they give.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type TestContext, test } from "node:test";
import { labDemo, labDown, labExec, labRun, labStatus, labUp, type Print } from "./commands.ts";
import { removeLab } from "./down.ts";
import { auditNode } from "./audit/audit.ts";
import { auditedNode } from "./audit/lab-node.ts";
import { planCluster } from "./layout.ts";
import { labDirectory, labEnvironment } from "./record.ts";

const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));

function listener(): { print: Print; said: () => string } {
  const texts: string[] = [];
  return { print: (text) => void texts.push(text), said: () => texts.join("\n") };
}

void test("up, status, exec, down", async (t) => {
  const name = `cm${process.pid}`;
  t.after(() => removeLab(name));
  const { print, said } = listener();
  assert.equal(await labUp({ name, nodes: 2, pods: 1 }, print), 0);
  assert.match(said(), /node-1 +agent runs/);
  assert.match(said(), /p2 +10\.4\.2\.2, fd00:10:4:2::2 +attached/);
  assert.equal(labStatus({ name }, print), 0);
  assert.equal(await labExec({ name, place: "p1", command: ["sh", "-c", "ping -c1 -W10 10.4.2.2 >/dev/null"] }), 0);
  assert.equal(await labExec({ name, place: "node-2", command: ["sh", "-c", "exit 3"] }), 3);
  assert.equal(await labExec({ name, place: "node-2", command: ["sh", "-c", "kill -9 $$"] }), 137);
  await assert.rejects(labExec({ name, place: "p3", command: ["true"] }), /has no node or pod p3/);
  await assert.rejects(labUp({ name }, print), /is there already/);
  for (const node of planCluster({ lab: name, nodes: 2, families: [4, 6], gateway: true }).nodes) {
    assert.deepEqual(await auditNode(auditedNode(node, "runs"), { env: labEnvironment("") }), []);
  }
  assert.equal(await labDown({ name }, print), 0);
  assert.match(said(), /removed: 6 processes, 5 namespaces/);
  assert.throws(() => labStatus({ name }, print), /there is no lab/);
});

void test("an up that fails leaves nothing", async () => {
  const name = `cf${process.pid}`;
  await assert.rejects(
    labUp({ name, nodes: 1, pods: 1, family: "v4", program: "/bin/false" }, () => {}),
    /ended before it served/,
  );
  assert.ok(!existsSync(labDirectory(name)));
});

function scenarioFile(t: TestContext, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-scenario-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "bad.txt");
  writeFileSync(file, text);
  return file;
}

/** A scenario that fails at its last step. */
function failing(t: TestContext): string {
  return scenarioFile(
    t,
    '# Bad\n\ncluster routes nodes=1 family=v4\npod a on node-1\nexpect check of a fails with "x"\n',
  );
}

void test("a scenario that fails is told with its place, what was seen, and the agent's last words", async (t) => {
  const { print, said } = listener();
  assert.equal(await labRun({ files: [failing(t)] }, print), 1);
  assert.match(
    said(),
    /bad\.txt:5: expect check of a fails with "x"\n {2}CHECK found nothing wrong\nlast lines of the agent of node-1:\n {2}\{/,
  );
  assert.match(said(), /0 of 1 scenarios passed$/);
});

void test("the program itself runs a scenario to its end, also where it waits for nothing but the end of a process", (t) => {
  const restarts = "kill agent on node-1\nstart agent on node-1\n".repeat(6);
  const file = scenarioFile(t, `# Restarts\n\ncluster routes nodes=1 family=v4\n${restarts}stop agent on node-1\n`);
  const { status, stdout, stderr } = spawnSync(fairlead, ["lab", "run", file], { encoding: "utf8", timeout: 240_000 });
  assert.deepEqual([status, stderr], [0, ""]);
  assert.match(stdout, /1 of 1 scenarios passed\n$/);
});

void test("with keep, the lab of a failed scenario stays for a look", async (t) => {
  const { print, said } = listener();
  const file = failing(t);
  assert.equal(await labRun({ files: [file, file], keep: true }, print), 1);
  const [, name = ""] = /remove it with: fairlead lab down (\w+)/.exec(said()) ?? [];
  t.after(() => removeLab(name));
  assert.equal(await labExec({ name, place: "a", command: ["true"] }), 0);
  assert.equal(await labDown({ name }, print), 0);
  assert.ok(!existsSync(labDirectory(name)));
});

/** What a failed demo says: a claim that does not hold, and the reports with their problems; the tables of what holds say nothing here. */
function notProved(said: string): string {
  const lines = said.split("\n");
  return lines.filter((line) => line !== "" && !line.endsWith(" yes") && !line.startsWith("Proved: ")).join("\n");
}

void test("the demo proves every claim and leaves nothing", async () => {
  const { print, said } = listener();
  assert.ok((await labDemo(print)) === 0, notProved(said()));
  const claims = said()
    .split("\n")
    .filter((line) => line.endsWith(" yes"));
  assert.equal(claims.length, 34);
  assert.doesNotMatch(said(), / NO$/m);
  assert.match(said(), /^\$ fairlead why shop\/front shop\/api 8080\/tcp$[^]*DENIED +SecurityGroup api /m);
  for (const proved of ["10 of 10 claims hold, 230 probes", "9 of 9 claims hold, 186 probes", "15 of 15 claims hold"]) {
    assert.ok(said().includes(`Proved: ${proved}, `), said());
  }
  assert.equal(said().split("nothing was left behind on this computer.").length - 1, 3);
});

// Taking labs down: whatever a killed maker left is removed, once and for all; what is not the lab's is never touched.

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync, writeFileSync } from "node:fs";
import { type TestContext, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { present } from "../src/base/assert.ts";
import { labDown } from "./commands.ts";
import { leftovers, removeLab } from "./down.ts";
import { makeNetns, netnsIdentity, netnsPath } from "./netns.ts";
import { formatProcessId, isAlive, processId } from "./process.ts";
import { createLab, labDirectory, labEnvironment, labRoot, readRecord } from "./record.ts";
import { until } from "./waiting.ts";

const maker = fileURLToPath(new URL("fixtures/maker.ts", import.meta.url));

/** Lines of the maker's record: its beginning, and two for each of three machines, two agents, two machine servers, a pod, its two servers. */
const linesAll = 1 + 2 * 10;

let labs = 0;

function newName(): string {
  labs += 1;
  return `dn${process.pid}x${labs}`;
}

function startMaker(name: string, line: number): ChildProcess {
  return spawn(process.execPath, [maker, name, String(line)], { stdio: ["ignore", "pipe", "inherit"] });
}

/** The links of this computer's own network. */
function ownLinks(): string {
  return execFileSync("ip", ["-br", "link"], { encoding: "utf8" });
}

/** Takes the lab of a dead maker down and checks that everything it ever recorded is gone, also for those who ask again. */
async function removeCompletely(name: string): Promise<void> {
  const record = readRecord(name);
  await removeLab(name);
  assert.deepEqual(leftovers(name, labEnvironment(record?.token ?? "no token was written")), []);
  const said: string[] = [];
  assert.equal(await labDown({ name }, (text) => said.push(text)), 0);
  assert.deepEqual(said, [`there is no lab ${name}`]);
}

void test("a whole lab is made and removed", async (t) => {
  const name = newName();
  t.after(() => removeLab(name));
  const before = ownLinks();
  const child = startMaker(name, 0);
  const [[lines], [code]] = await Promise.all([once(present(child.stdout, "stdout"), "data"), once(child, "close")]);
  assert.equal(code, 0);
  assert.equal(Number(String(lines)), linesAll);
  const record = present(readRecord(name), "record");
  assert.ok(
    record.things.every(({ identity }) => identity !== undefined),
    "everything is known by what it is",
  );
  assert.deepEqual(await removeLab(name), { found: true, processes: 6, namespaces: 4, notes: [] });
  await removeCompletely(name);
  assert.equal(ownLinks(), before);
});

void describe("a maker killed right after a line of its record", { concurrency: 2 }, () => {
  for (let line = 1; line <= linesAll; line += 1) {
    void test(`line ${line}`, async (t) => {
      const name = newName();
      t.after(() => removeLab(name));
      const [code, signal] = await once(startMaker(name, line), "close");
      assert.deepEqual([code, signal], [null, "SIGKILL"]);
      await removeCompletely(name);
    });
  }
});

void describe("a maker killed from outside, while it makes a thing", { concurrency: 2 }, () => {
  for (const line of [2, 4, 6, 8, 10, 14, 16, 18, 20]) {
    void test(`as soon as line ${line} is seen`, async (t) => {
      const name = newName();
      t.after(() => removeLab(name));
      const child = startMaker(name, 0);
      const closed = once(child, "close");
      const linesLeft = async (): Promise<string | undefined> => {
        const things = readRecord(name)?.things ?? [];
        const lines = 1 + things.length + things.filter(({ identity }) => identity !== undefined).length;
        return lines >= line ? undefined : `${lines} lines`;
      };
      await until(linesLeft, { what: `line ${line}`, withinMs: 30_000, everyMs: 1 });
      await assert.rejects(removeLab(name), /is still in use by process/, "nobody removes a lab that is being made");
      child.kill("SIGKILL");
      await closed;
      await removeCompletely(name);
    });
  }
});

/** A namespace that no lab made, with a process in it that no lab started. */
async function foreignNetns(t: TestContext, name: string): Promise<{ identity: string; child: ChildProcess }> {
  execFileSync("ip", ["netns", "add", name]);
  const identity = present(netnsIdentity(name), name);
  const child = spawn("ip", ["netns", "exec", name, "sleep", "60"], { stdio: "ignore" });
  await once(child, "spawn");
  t.after(() => {
    child.kill("SIGKILL");
    if (netnsIdentity(name) === identity) execFileSync("ip", ["netns", "delete", name]);
  });
  return { identity, child };
}

void test("a namespace that is there already is refused, and stays when the lab goes", async (t) => {
  const name = newName();
  const lab = createLab({ name });
  t.after(() => removeLab(name));
  const { identity, child } = await foreignNetns(t, `flab-${name}-wire`);
  await assert.rejects(makeNetns(lab, `flab-${name}-wire`), /that lab \w+ did not make/);
  await removeLab(name);
  assert.equal(netnsIdentity(`flab-${name}-wire`), identity);
  assert.equal(child.exitCode, null);
});

void test("a namesake of a namespace that was ours is left alone, and told", async (t) => {
  const name = newName();
  const lab = createLab({ name });
  t.after(() => removeLab(name));
  await makeNetns(lab, `flab-${name}-wire`);
  // The kernel gives a freed inode number again: while it is open it is not free.
  const held = openSync(netnsPath(`flab-${name}-wire`), "r");
  t.after(() => closeSync(held));
  execFileSync("ip", ["netns", "delete", `flab-${name}-wire`]);
  const { identity } = await foreignNetns(t, `flab-${name}-wire`);
  const { notes, namespaces } = await removeLab(name);
  assert.equal(namespaces, 0);
  assert.match(notes.join("\n"), /is not the one that this lab made: left alone/);
  assert.equal(netnsIdentity(`flab-${name}-wire`), identity);
});

void test("a foreign process in our namespace lives on, and is told", async (t) => {
  const name = newName();
  const lab = createLab({ name });
  t.after(() => removeLab(name));
  await makeNetns(lab, `flab-${name}-wire`);
  const child = spawn("ip", ["netns", "exec", `flab-${name}-wire`, "sleep", "60"], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  const inside = async (): Promise<string | undefined> => {
    const comm = execFileSync("ip", ["netns", "pids", `flab-${name}-wire`], { encoding: "utf8" });
    return comm.includes(String(child.pid)) ? undefined : "not yet inside";
  };
  await until(inside, { what: "sleep in the namespace", withinMs: 5_000 });
  const { notes } = await removeLab(name);
  assert.match(
    notes.join("\n"),
    new RegExp(`lives on until process ${child.pid} \\(\\w+\\) ends: the lab did not start it`),
  );
  assert.equal(child.exitCode, null);
});

void test("a later process under a recorded pid is not ended", async (t) => {
  const name = newName();
  const lab = createLab({ name });
  t.after(() => removeLab(name));
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  await once(child, "spawn");
  const id = present(processId(present(child.pid, "pid")), "sleep");
  lab.made(lab.intend("process", "agent node-1"), formatProcessId({ ...id, startTicks: id.startTicks - 1 }));
  assert.equal((await removeLab(name)).processes, 0);
  assert.ok(isAlive(id));
});

void test("what a crash kept out of the record, a process and a namespace, is found all the same", async (t) => {
  const name = newName();
  const lab = createLab({ name });
  t.after(() => removeLab(name));
  lab.intend("netns", `flab-${name}-wire`);
  execFileSync("ip", ["netns", "add", `flab-${name}-wire`]);
  lab.intend("process", "agent node-1");
  const child = spawn("sleep", ["60"], { stdio: "ignore", env: lab.env });
  t.after(() => child.kill("SIGKILL"));
  await once(child, "spawn");
  const ended = once(child, "close");
  assert.deepEqual(await removeLab(name), { found: true, processes: 1, namespaces: 1, notes: [] });
  assert.deepEqual(await ended, [null, "SIGKILL"]);
  assert.equal(netnsIdentity(`flab-${name}-wire`), undefined);
});

void test("two labs of one name cannot be made", async (t) => {
  const name = newName();
  createLab({ name });
  t.after(() => removeLab(name));
  assert.throws(
    () => createLab({ name }),
    new RegExp(`lab ${name} is there already; remove it with: fairlead lab down ${name}`),
  );
});

void test("a directory without a record is removed only if it is empty", async () => {
  const name = newName();
  mkdirSync(labDirectory(name), { recursive: true, mode: 0o700 });
  await removeLab(name);
  assert.ok(!existsSync(labDirectory(name)));
  mkdirSync(labDirectory(name), { recursive: true, mode: 0o700 });
  writeFileSync(`${labDirectory(name)}/letter`, "");
  await assert.rejects(removeLab(name), /has no record but holds letter/);
  execFileSync("rm", ["-r", labDirectory(name)]);
  try {
    rmdirSync(labRoot);
  } catch {
    // another lab is there, or another test was faster
  }
});

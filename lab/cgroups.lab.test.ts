// Cgroups of a lab: whatever runs in one ends with the lab, whoever started it; a namesake is left alone.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { present } from "../src/base/assert.ts";
import { cgroupsNamed, makeCgroup } from "./cgroups.ts";
import { leftovers, removeLab } from "./down.ts";
import { createLab, type Lab } from "./record.ts";

let labs = 0;

function newLab(t: TestContext): Lab {
  labs += 1;
  const lab = createLab({ name: `cg${process.pid}x${labs}` });
  t.after(() => removeLab(lab.name));
  return lab;
}

/** A process that no lab started. */
async function stranger(t: TestContext): Promise<ChildProcess> {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  await once(child, "spawn");
  return child;
}

void test("a process of nobody in particular ends with the cgroup that it is in, however deep", async (t) => {
  const lab = newLab(t);
  const name = `flab-${lab.name}-node-1`;
  makeCgroup(lab, name);
  const folders = cgroupsNamed(name);
  assert.ok(folders.length > 0);
  const child = await stranger(t);
  for (const folder of folders) mkdirSync(`${folder}/pods/one`, { recursive: true });
  const deep = present(
    folders.find((folder) => !folder.includes("cpuset")),
    "a hierarchy",
  );
  writeFileSync(`${deep}/pods/one/cgroup.procs`, String(child.pid));
  const ended = once(child, "exit");
  const { processes, notes } = await removeLab(lab.name);
  assert.deepEqual([processes, notes], [1, []]);
  assert.deepEqual(await ended, [null, "SIGKILL"]);
  assert.deepEqual(leftovers(lab.name, lab.env), []);
});

void test("one that is there already is refused, and stays", async (t) => {
  const lab = newLab(t);
  const first = present(cgroupsNamed("")[0], "a cgroup");
  const top = first.slice(0, first.lastIndexOf("/"));
  const name = `flab-${lab.name}-node-1`;
  mkdirSync(`${top}/${name}`);
  t.after(() => rmdirSync(`${top}/${name}`));
  assert.throws(() => makeCgroup(lab, name), /that lab \w+ did not make/);
  await removeLab(lab.name);
  assert.deepEqual(cgroupsNamed(name), [`${top}/${name}`]);
});

void test("a namesake of one that was ours is left alone, with what runs in it, and told", async (t) => {
  const lab = newLab(t);
  const name = `flab-${lab.name}-node-1`;
  makeCgroup(lab, name);
  const folders = cgroupsNamed(name);
  for (const folder of folders) rmdirSync(folder);
  // The kernel may give the freed number again: one more in between takes it.
  for (const folder of folders) mkdirSync(`${folder}-other`);
  for (const folder of folders) mkdirSync(folder);
  t.after(() => {
    for (const folder of folders) for (const path of [folder, `${folder}-other`]) rmdirSync(path);
  });
  const { notes } = await removeLab(lab.name);
  assert.match(notes.join("\n"), /is not the one that this lab made: left alone/);
  assert.ok(cgroupsNamed(name).length >= folders.length);
});

// Disks that are full or read-only, at start and under a running agent: calls fail by name, pods stay, and all is well once there is room.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { errorDisk, memoryDisk, needsErrorDisk } from "./disk.ts";
import type { Heard } from "./runtime.ts";
import { makeStage, type Stage } from "./stage.ts";

/** Codes of store-failed, and of cleanup-incomplete for GC, which goes on with others. */
const storeCodes: ReadonlySet<number> = new Set([107, 112]);
const full = /database or disk is full/;
const readOnly = /read-?only|disk I\/O error/i;
/** Too little for an agent that restarts. */
const noPatience = { FAIRLEAD_CONNECT_MS: "1" };

async function kill(stage: Stage): Promise<void> {
  stage.agent().signal("SIGKILL");
  assert.equal((await stage.agent().ended).signal, "SIGKILL");
}

function assertNamed({ code, stdout }: Heard, why: RegExp): void {
  assert.ok(storeCodes.has(code), stdout);
  assert.match(stdout, why);
}

/** ADD is refused, and leaves nothing that DEL would have to write; pods do not feel it. `why`: what the caller is told. */
async function refuseAdd(stage: Stage, why: RegExp): Promise<void> {
  assertNamed(await stage.tryAdd("c2"), why);
  await stage.reachAll();
  await stage.delete("c2");
}

/** Whatever was tried meanwhile is done again, and the node holds what it should. */
async function goOn(stage: Stage): Promise<void> {
  for (const id of ["c1", "c2"]) await stage.delete(id);
  await stage.audit("there is room again, after DEL");
  for (const id of ["c1", "c2"]) await stage.add(id);
  await stage.audit("after another ADD");
  for (const id of ["c1", "c2"]) await stage.delete(id);
}

test("a disk that fills up: calls say so, the next agent serves all the same", async (t) => {
  const disk = memoryDisk(t);
  const stage = await makeStage(t, { mount: disk.mount });
  await stage.add("c1");
  disk.fill();
  await refuseAdd(stage, full);
  await kill(stage);
  assert.notEqual((await stage.tryDelete("c1", noPatience)).code, 0, "a DEL that nobody could note was no success");
  await stage.startAgent();
  await stage.reachAll();
  await refuseAdd(stage, full);
  assert.equal((await stage.call("STATUS")).code, 0);
  assertNamed(await stage.collect(["bystander"]), full);
  await kill(stage);
  await stage.startAgent();
  assertNamed(await stage.tryDelete("c1"), full);
  disk.drain();
  await goOn(stage);
});

test("a full disk where the state is lost: the start says so, and reads the pods back once there is room", async (t) => {
  const disk = memoryDisk(t);
  const stage = await makeStage(t, { mount: disk.mount });
  await stage.add("c1");
  await kill(stage);
  rmSync(stage.config.paths.state, { recursive: true });
  disk.fill();
  assert.match(await stage.failToStart(), full);
  await stage.reachAll();
  disk.drain();
  await stage.startAgent();
  await stage.audit("read back");
  await goOn(stage);
});

test("a read-only state directory at start: the start says so, pods stay", async (t) => {
  const disk = memoryDisk(t);
  const stage = await makeStage(t, { mount: disk.mount });
  await stage.add("c1");
  await kill(stage);
  disk.remount("ro");
  assert.notEqual((await stage.tryDelete("c1", noPatience)).code, 0, "a DEL that nobody could note was no success");
  assert.match(await stage.failToStart(), readOnly);
  await stage.reachAll();
  disk.remount("rw");
  await stage.startAgent();
  await stage.audit("the next agent serves");
  await goOn(stage);
});

test("a state directory that turns read-only under the agent: calls say so, pods stay", needsErrorDisk, async (t) => {
  const disk = errorDisk(t);
  const stage = await makeStage(t, { mount: disk.mount });
  await stage.add("c1");
  disk.fail();
  await refuseAdd(stage, readOnly);
  assertNamed(await stage.tryDelete("c1"), readOnly);
  stage.doubt("c1"); // withdrawn, and yet in the journal: the next agent releases it
  await kill(stage);
  assert.match(await stage.failToStart(), readOnly);
  disk.renew();
  await stage.startAgent();
  await stage.audit("the next agent serves");
  await goOn(stage);
});

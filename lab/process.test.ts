// Processes by pid and start time: found, ended, never mistaken.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { present } from "../src/base/assert.ts";
import {
  endProcesses,
  formatProcessId,
  isAlive,
  parseProcessId,
  processesWithToken,
  processId,
  tokenVariable,
} from "./process.ts";

/** A program that does nothing until it is told to end; `stubborn` ones ignore SIGTERM. */
async function sleeper(t: TestContext, { token = "", stubborn = false } = {}): Promise<ChildProcess> {
  const script = `${stubborn ? 'process.on("SIGTERM", () => {});' : ""} setInterval(() => {}, 1000); process.stdout.write("up");`;
  const child = spawn(process.execPath, ["-e", script], {
    env: { [tokenVariable]: token },
    stdio: ["ignore", "pipe", "ignore"],
  });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return child;
}

function idOf(child: ChildProcess): { pid: number; startTicks: number } {
  return present(processId(present(child.pid, "pid")), "process");
}

void test("a process is alive only under its own start time", async (t) => {
  const id = idOf(await sleeper(t));
  assert.ok(isAlive(id));
  assert.ok(!isAlive({ ...id, startTicks: id.startTicks + 1 }));
  assert.deepEqual(parseProcessId(formatProcessId(id)), id);
  for (const text of ["", "1", "1:", ":1", "1:2:3", "-1:2", "a:b"]) assert.equal(parseProcessId(text), undefined, text);
});

void test("a later process of the same pid is not ended", async (t) => {
  const id = idOf(await sleeper(t));
  await endProcesses([{ ...id, startTicks: id.startTicks - 1 }], 50);
  await endProcesses([{ ...id, startTicks: id.startTicks - 1 }], 0);
  assert.ok(isAlive(id));
});

void test("the orderly end, the forced end, and what is gone already", async (t) => {
  const orderly = idOf(await sleeper(t));
  assert.equal(await endProcesses([orderly], 10_000), true);
  const stubborn = idOf(await sleeper(t, { stubborn: true }));
  assert.equal(await endProcesses([stubborn, orderly], 100), false);
  assert.ok(!isAlive(orderly) && !isAlive(stubborn));
  assert.equal(await endProcesses([stubborn, orderly], 100), true);
});

void test("a process is found by its token, whole and not by a part of it", async (t) => {
  const token = randomBytes(8).toString("hex");
  const id = idOf(await sleeper(t, { token }));
  assert.deepEqual(processesWithToken(token), [id]);
  assert.deepEqual(processesWithToken(token.slice(0, 8)), []);
});

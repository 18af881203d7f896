// What becomes of a cluster whose maker is killed: pods, shims, mounts, cgroups and namespaces go, without a word from anybody.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { present } from "../../src/base/assert.ts";
import { leftovers, removeLab } from "../../lab/down.ts";
import { labEnvironment, netnsPrefix, readRecord } from "../../lab/record.ts";
import { until } from "../../lab/waiting.ts";
import { needsReference } from "../reference/programs.ts";
import { needsUpstream } from "./upstream.ts";

const maker = fileURLToPath(new URL("fixtures/maker.ts", import.meta.url));
const madeWithinMs = 180_000;
const removedWithinMs = 60_000;
/** Two servers and a resolver, and the sandbox of each. */
const podProcessesMin = 6;

const upstream = needsUpstream();
const needs = upstream.skip === false ? needsReference : upstream;

/** Pids of a lab's pods, by the cgroups that the kernel shows of every process: they carry no other mark of the lab. */
function podProcesses(lab: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/${netnsPrefix}${lab}-node-`);
    } catch {
      return false; // gone meanwhile
    }
  });
}

/** Settles at the maker's "ready". */
async function untilReady(child: ChildProcess): Promise<void> {
  let said = "";
  present(child.stdout, "stdout").on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  const ready = async (): Promise<string | undefined> => {
    assert.equal(child.exitCode, null, "the maker ended");
    return said.includes("ready\n") ? undefined : "not yet";
  };
  await until(ready, { what: "a cluster with pods", withinMs: madeWithinMs, everyMs: 100 });
}

void test("a maker that is killed leaves nothing of its cluster", needs, async (t) => {
  const lab = `kl${process.pid}`;
  const child = spawn(process.execPath, [maker, lab], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(async () => {
    child.kill("SIGKILL");
    await removeLab(lab);
  });
  await untilReady(child);
  const { token } = present(readRecord(lab), "record");
  assert.ok(podProcesses(lab).length >= podProcessesMin, `pods run: ${podProcesses(lab).join(", ")}`);
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  const left = async (): Promise<string | undefined> =>
    [...leftovers(lab, labEnvironment(token)), ...podProcesses(lab).map((pid) => `pod process ${pid}`)][0];
  await until(left, { what: "end of the cluster", withinMs: removedWithinMs, everyMs: 100 });
  assert.doesNotMatch(readFileSync("/proc/mounts", "utf8"), new RegExp(lab), "no mount of its is on this computer");
});

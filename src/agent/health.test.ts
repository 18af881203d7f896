// STATUS: silent while all is well, 51 where a loop cannot repair, 50 for a full pool only where that was asked for.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../base/assert.ts";
import { faults, isFault } from "../base/fault.ts";
import type { LoopStatus } from "../base/loop.ts";
import { parseRequest } from "../cni/request.ts";
import type { CniRequest } from "../cni/types.ts";
import { createMemoryStore } from "../ipam/memory-store.ts";
import { openPool } from "../ipam/pool.ts";
import { parseCidr } from "../net/cidr.ts";
import { testAttachment } from "../../test/store.contract.ts";
import { answerStatus, brokenLoops, type StatusMode } from "./health.ts";

const stdin = Buffer.from(JSON.stringify({ cniVersion: "1.1.0", name: "fairlead", type: "fairlead-cni" }));
const request = parseRequest({ env: new Map([["CNI_COMMAND", "STATUS"]]), stdin }) as CniRequest;

function deps(statusMode: StatusMode, loops: LoopStatus[] = []): Parameters<typeof answerStatus>[1] {
  const block = present(parseCidr("10.4.1.0/31"), "block");
  return { pool: openPool({ blocks: [block], store: createMemoryStore() }), statusMode, loops: () => loops };
}

const loop = (name: string, failures: number): LoopStatus => ({
  name,
  passes: 9,
  failures,
  lastPass: { name, ok: failures === 0, durationMs: 1, error: new Error("no such table") },
});

test("a full pool is an error in strict mode only", async () => {
  const normal = deps("normal");
  const strict = deps("strict");
  for (const { pool } of [normal, strict]) pool.reserve(testAttachment({ containerId: "a" }));
  await answerStatus(request, strict);
  for (const { pool } of [normal, strict]) pool.reserve(testAttachment({ containerId: "b" }));
  await answerStatus(request, normal);
  await assert.rejects(
    answerStatus(request, strict),
    (error) => isFault(error, "not-available") && /no free IPv4 address.*2 in use/.test(error.message),
  );
  assert.equal(faults["not-available"].cni, 50);
});

test("a loop that pods hang on, failing again and again, is told by its error", async () => {
  await answerStatus(request, deps("normal", [loop("guard", 2), loop("reaper", 99)]));
  await assert.rejects(
    answerStatus(request, deps("normal", [loop("guard", 3)])),
    (error) => isFault(error, "limited-connectivity") && /guard: no such table/.test(error.message),
  );
  assert.equal(faults["limited-connectivity"].cni, 51);
  assert.deepEqual(brokenLoops([loop("host", 3), loop("repair", 0)]), ["host: no such table"]);
});

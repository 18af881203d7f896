// The agent gives back pages of its program once its start is over: all of them, a part at a time, and then every hour.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { loadAddon } from "../kernel/addon.ts";
import { parts, releaseEveryMs, startOverMs, startOwnMemory } from "./own-memory.ts";

/** Turns of the event loop in which all parts of a pass are done. */
const turns = parts * 4;

void test("nothing while it starts, then all parts once, and again an hour later", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const released: number[] = [];
  const stop = new AbortController();
  const loop = startOwnMemory({
    releaseProgram: (part, of) => {
      assert.equal(of, parts);
      return released.push(part);
    },
    signal: stop.signal,
  });
  const pass = async (): Promise<number[]> => {
    for (let turn = 0; turn < turns; turn += 1) {
      await new Promise((turned) => setImmediate(turned));
      t.mock.timers.tick(0); // the loop's shortest wait
    }
    return released.splice(0);
  };
  const all = Array.from({ length: parts }, (_, part) => part);
  assert.deepEqual(await pass(), []);
  t.mock.timers.tick(startOverMs - 1);
  assert.deepEqual(await pass(), []);
  t.mock.timers.tick(1);
  assert.deepEqual(await pass(), all);
  t.mock.timers.tick(releaseEveryMs - 1);
  assert.deepEqual(await pass(), []);
  t.mock.timers.tick(1);
  assert.deepEqual(await pass(), all);
  stop.abort();
  await loop.done;
});

/** Kilobytes of files that are mapped and in memory. */
function mappedKb(): number {
  return Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
}

void test("the pages are gone, what runs goes on, and what is needed comes back", async () => {
  const addon = loadAddon();
  const text = readFileSync("package-lock.json", "utf8");
  const work = (): string => JSON.stringify(JSON.parse(text));
  const before = [work(), mappedKb()] as const;
  let releasedBytes = 0;
  for (let part = 0; part < parts; part += 1) releasedBytes += addon.releaseProgram(part, parts);
  const after = mappedKb();
  assert.ok(releasedBytes > 50_000_000, `${releasedBytes} bytes`);
  assert.ok(after < before[1] / 2, `${before[1]} KB, then ${after}`);
  assert.equal(work(), before[0]);
  assert.ok(mappedKb() > after);
  const wrong: [part: number, of: number][] = [
    [0, 0],
    [1, 1],
    [-1, 4],
    [0, 65_537],
  ];
  for (const [part, of] of wrong) assert.throws(() => addon.releaseProgram(part, of), { code: "EINVAL" });
});

// Release files: applied in order, kept until they are done, put aside where they make no sense, seen when they come.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { until } from "../../test/until.ts";
import { silentLog } from "../base/log.ts";
import { within } from "../base/pause.ts";
import type { CniRequest } from "../cni/types.ts";
import { encodeRequest } from "../cni/wire.ts";
import { applyReleases, releasesDirectory, type ReleasesDeps, startReleases } from "./releases.ts";

interface Stand {
  directory: string;
  deps: ReleasesDeps;
  /** Container ids, in the order in which they were released. */
  released: string[];
}

/** `refuse`: the container ids whose release fails. */
function stand(t: TestContext, refuse: readonly string[] = []): Stand {
  const top = mkdtempSync(join(tmpdir(), "fairlead-releases-"));
  t.after(() => rmSync(top, { recursive: true }));
  const socket = join(top, "cni.sock");
  const directory = releasesDirectory(socket);
  mkdirSync(directory);
  const released: string[] = [];
  const release = async ({ containerId }: CniRequest): Promise<void> => {
    if (refuse.includes(containerId)) throw new Error(`${containerId} is held`);
    released.push(containerId);
  };
  return { directory, deps: { socket, release, log: silentLog() }, released };
}

function frame(verb: string, containerId: string): Uint8Array {
  const env = { CNI_COMMAND: verb, CNI_CONTAINERID: containerId, CNI_IFNAME: "eth0", CNI_NETNS: "/run/netns/x" };
  const stdin = Buffer.from(JSON.stringify({ cniVersion: "1.1.0", name: "fairlead", type: "fairlead-cni" }));
  return encodeRequest({ env: new Map(Object.entries(env)), stdin });
}

test("files are applied oldest first, those that are being written left alone", async (t) => {
  const { directory, deps, released } = stand(t);
  for (const id of ["3", "1", "2"]) writeFileSync(join(directory, `${id}-77.release`), frame("DEL", `c${id}`));
  for (const name of [".tmp-1", ".0-77.release", "note"]) writeFileSync(join(directory, name), frame("DEL", "other"));
  await applyReleases(directory, deps);
  assert.deepEqual(released, ["c1", "c2", "c3"]);
  assert.deepEqual(readdirSync(directory).toSorted(), [".0-77.release", ".tmp-1", "note"]);
});

test("a file stays until its release has succeeded; the others go on", async (t) => {
  const { directory, deps, released } = stand(t, ["c1"]);
  for (const id of ["1", "2"]) writeFileSync(join(directory, `${id}.release`), frame("DEL", `c${id}`));
  await assert.rejects(applyReleases(directory, deps), /c1 is held/);
  assert.deepEqual(released, ["c2"]);
  assert.deepEqual(readdirSync(directory), ["1.release"]);
});

test("what cannot be read, or is no DEL, is kept aside as .bad", async (t) => {
  const { directory, deps, released } = stand(t);
  const whole = frame("DEL", "c1");
  writeFileSync(join(directory, "1.release"), whole.subarray(0, 20));
  writeFileSync(join(directory, "2.release"), "text");
  writeFileSync(join(directory, "3.release"), frame("ADD", "c3"));
  writeFileSync(join(directory, "4.release"), frame("DEL", "c4"));
  await applyReleases(directory, deps);
  assert.deepEqual(released, ["c4"]);
  assert.deepEqual(readdirSync(directory).toSorted(), ["1.release.bad", "2.release.bad", "3.release.bad"]);
});

test("a file that comes while the agent runs is applied at once, also in a directory that was made anew", async (t) => {
  const { directory, deps, released } = stand(t);
  const stop = new AbortController();
  const passes: string[] = [];
  const { loop } = startReleases(deps, stop.signal, ({ ok }) => passes.push(ok ? "good" : "bad"));
  t.after(async () => {
    stop.abort();
    await loop.done;
  });
  await until("the first pass is over", () => passes.length > 0);
  const leave = (id: string): void => {
    writeFileSync(join(directory, `.${id}`), frame("DEL", id)); // as the shim does: whole under another name, then renamed
    renameSync(join(directory, `.${id}`), join(directory, `${id}.release`));
  };
  leave("c1");
  await until("c1 is released", () => released.includes("c1"));
  rmSync(directory, { recursive: true });
  loop.trigger(); // the agent looks after its sockets, and by that after this
  await until("the directory is there again", () => readdirSync(join(directory, "..")).includes("releases"));
  leave("c2");
  await until("c2 is released", () => released.includes("c2"));
});

test("who comes waits for files about the same container alone, and all who wait share a try", async (t) => {
  const { directory, deps } = stand(t);
  const held = Promise.withResolvers<void>();
  let tries = 0;
  const release = async (): Promise<void> => {
    tries += 1;
    await held.promise;
    throw new Error("its IPAM plugin is ill");
  };
  writeFileSync(join(directory, "1.release"), frame("DEL", "ill"));
  const stop = new AbortController();
  const { loop, applied } = startReleases({ ...deps, release }, stop.signal, () => {});
  t.after(() => stop.abort());
  await until("the loop is at it", () => tries === 1);
  await applied("well");
  const waiting = Array.from({ length: 20 }, () => applied("ill"));
  assert.equal(await within(50, Promise.all(waiting)), false, "the same container's DEL is on its way");
  held.resolve();
  await Promise.all(waiting);
  assert.equal(tries, 2);
  stop.abort();
  await loop.done;
});

test("an agent that stops leaves the files that are not begun", async (t) => {
  const { directory, deps } = stand(t);
  const stop = new AbortController();
  const released: string[] = [];
  const release = async ({ containerId }: CniRequest): Promise<void> => {
    released.push(containerId);
    stop.abort();
  };
  for (const id of ["1", "2"]) writeFileSync(join(directory, `${id}.release`), frame("DEL", `c${id}`));
  await applyReleases(directory, { ...deps, release }, stop.signal);
  assert.deepEqual([released, readdirSync(directory)], [["c1"], ["2.release"]]);
});

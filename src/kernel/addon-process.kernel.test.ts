// Holds native/addon.c to its end with the process: what keeps a process alive, exits in the middle of calls, collected descriptors, Node 20.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, realpathSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { makeNetns } from "../../test/netns.ts";
import { present } from "../base/assert.ts";
import { aboutLink, ack, getLink, request, silent } from "../../test/netlink-bytes.ts";

const run = promisify(execFile);
const addonPath = fileURLToPath(new URL("../../build/fairlead.node", import.meta.url));
const bounded = { timeout: 20_000 };

/** Runs JavaScript in a process of its own; `addon`, `home` and `silent` are there. Gives its stdout; a crash or a hang throws. */
async function inProcess(node: string, flags: string[], script: string): Promise<string> {
  const begin = `const addon = require(${JSON.stringify(addonPath)}); const home = addon.openNetns("/proc/self/ns/net");
    const silent = Buffer.from("${silent.toString("hex")}", "hex");`;
  const { stdout } = await run(node, [...flags, "-e", begin + script], { timeout: 15_000 });
  return stdout.trim();
}

test("an idle addon does not keep the process alive, a call under way does", bounded, async () => {
  const script = `const socket = addon.openNetlink(home, 0);
    addon.monitor(addon.openNetlink(home, 0), [1], () => {});
    addon.call(0, socket, silent, 50).catch((error) => console.log(error.code));`;
  assert.equal(await inProcess(process.execPath, [], script), "ETIMEDOUT");
});

test("a process and a worker may end in the middle of calls and monitors", bounded, async () => {
  const script = `const sockets = [0, 1, 2].map(() => addon.openNetlink(home, 0));
    addon.monitor(addon.openNetlink(home, 0), [1], () => {});
    for (let n = 0; n < 50; n += 1) for (const lane of [0, 1, 2]) addon.call(lane, sockets[lane], silent, 600000);`;
  assert.equal(await inProcess(process.execPath, [], `${script} process.exit(0)`), "");
  const worker = JSON.stringify(
    `const addon = require(${JSON.stringify(addonPath)}); const home = addon.openNetns("/proc/self/ns/net");
     const silent = Buffer.from("${silent.toString("hex")}", "hex"); ${script}
     require("node:worker_threads").parentPort.postMessage("ready");`,
  );
  const outer = `const { Worker } = require("node:worker_threads");
    (async () => { for (let n = 0; n < 5; n += 1) { const worker = new Worker(${worker}, { eval: true });
      await new Promise((resolve) => worker.once("message", resolve)); await worker.terminate(); }
      const { readdirSync, readFileSync, readlinkSync } = require("node:fs");
      const names = readdirSync("/proc/self/task").map((id) => {
        try { return readFileSync("/proc/self/task/" + id + "/comm", "utf8"); } catch { return ""; } });
      const sockets = readdirSync("/proc/self/fd").filter((fd) => {
        try { return fd > 2 && readlinkSync("/proc/self/fd/" + fd).startsWith("socket:"); } catch { return false; } });
      console.log("left:", names.filter((name) => name.startsWith("fl-")).length, sockets.length); })();`;
  assert.equal(await inProcess(process.execPath, [], outer), "left: 0 0");
});

test("a descriptor that is collected is closed, one that is monitored is kept", bounded, async () => {
  const script = `const count = () => require("node:fs").readdirSync("/proc/self/fd").length;
    addon.close(addon.openNetlink(home, 0)); // from the first one on the way home is open
    const before = count(); let events = 0;
    addon.monitor(addon.openNetlink(home, 0), [1], () => { events += 1; });
    const kept = count();
    for (let n = 0; n < 200; n += 1) addon.openNetlink(home, 0);
    const most = count();
    setTimeout(() => { gc(); setImmediate(() => console.log(kept - before, most - kept, count() - kept)); }, 10);`;
  assert.equal(await inProcess(process.execPath, ["--expose-gc"], script), "2 200 0");
});

test("what a monitor's callback throws ends the process as an uncaught exception does", bounded, async (t) => {
  const netns = makeNetns(t);
  const script = `process.on("uncaughtException", (error) => { console.log(error.message); process.exit(0); });
    const ns = addon.openNetns(${JSON.stringify(netns.path)});
    addon.monitor(addon.openNetlink(ns, 0), [1], () => { throw new Error("thrown in callback"); });
    require("node:child_process").execFileSync("ip", ["-n", "${netns.name}", "link", "set", "lo", "up"]);
    setTimeout(() => console.log("nothing caught"), 5000);`;
  assert.equal(await inProcess(process.execPath, [], script), "thrown in callback");
});

/** The machine's own node, which set-up needs (20 or newer), and which is not the one of the project. */
function nodeOfMachine(): string {
  const ours = realpathSync(process.execPath);
  const found = (process.env["PATH"] ?? "")
    .split(":")
    .map((directory) => join(directory, "node"))
    .find((file) => existsSync(file) && realpathSync(file) !== ours);
  return present(found, "a node in the PATH beside the project's own");
}

test("the same binary works under the machine's own node", bounded, async (t) => {
  const netns = makeNetns(t);
  const directory = mkdtempSync(join(tmpdir(), "fltest-addon-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const ask = aboutLink(getLink, request | ack, 7, "lo").toString("hex");
  const script = `(async () => { const ns = addon.openNetns(${JSON.stringify(netns.path)}); const socket = addon.openNetlink(ns, 0);
    const bytes = await addon.call(0, socket, Buffer.from("${ask}", "hex"), 1000);
    await addon.writeSysctls(ns, ["ipv4/ip_forward"], ["1"]);
    const late = addon.call(0, socket, silent, 600000).catch((error) => error.code);
    addon.stop();
    const path = ${JSON.stringify(join(directory, "socket"))};
    const answer = await new Promise((resolve) => {
      const door = addon.listen(path, 1, (connection) => { addon.send(connection, Buffer.from("let in")); addon.close(connection); addon.close(door); });
      require("node:net").connect(path).on("data", (bytes) => resolve(String(bytes)));
    });
    console.log(answer, addon.netnsId(ns), bytes.readUInt32LE(8), await addon.readSysctls(ns, ["ipv4/ip_forward"]), await late); })();`;
  const { dev, ino } = statSync(netns.path, { bigint: true });
  assert.equal(await inProcess(nodeOfMachine(), [], script), `let in ${dev}:${ino} 7 [ '1' ] ECANCELED`);
});

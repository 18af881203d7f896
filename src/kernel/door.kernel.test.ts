// Holds the addon's listening socket to what addon.ts promises: who calls, what they sent, sends that do not wait, ends of all kinds.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Descriptor, type OnCaller, loadAddon } from "./addon.ts";

const run = promisify(execFile);
const addonPath = fileURLToPath(new URL("../../build/fairlead.node", import.meta.url));
const addon = loadAddon();
const bounded = { timeout: 20_000 };

interface Call {
  connection: Descriptor;
  pid: number;
  uid: number;
  bytes: Buffer;
}

function makePath(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "fltest-door-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return join(directory, "socket");
}

/** Listens until the test ends. */
function openDoor(t: TestContext, path: string, onCaller: OnCaller): Descriptor {
  const door = addon.listen(path, 16, onCaller);
  t.after(() => addon.close(door));
  return door;
}

/** A door that hands out its callers one by one. */
function callersAt(t: TestContext, path: string): () => Promise<Call> {
  const calls: Call[] = [];
  let waiting: ((call: Call) => void) | undefined;
  openDoor(t, path, (connection, pid, uid, bytes) => {
    const call = { connection, pid, uid, bytes };
    t.after(() => addon.close(connection));
    if (waiting === undefined) calls.push(call);
    else waiting(call);
    waiting = undefined;
  });
  return () =>
    new Promise((done) => {
      const call = calls.shift();
      if (call === undefined) waiting = done;
      else done(call);
    });
}

/**
 * A caller in a process of its own, which sends at once and waits for the whole answer, as the plugin does; several one
 * after the other connect first. Gives what each got, and its pid.
 */
async function callFromOutside(
  path: string,
  texts: readonly string[],
  later = "",
): Promise<{ pid: number; got: string[] }> {
  const script = `
import json, os, signal, socket, sys
signal.alarm(10)
path, texts, later = json.loads(sys.argv[1])
sockets = []
for text in texts:
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    if text: s.sendall(text.encode())
    sockets.append(s)
open(path + ".sent", "w").close()
got = []
for s in sockets:
    try:
        if later:
            s.sendall(later.encode())
            s.shutdown(socket.SHUT_WR)
        got.append("".join(iter(lambda: s.recv(65536).decode(), "")))
    except OSError as error:
        got.append(type(error).__name__)
print(json.dumps({"pid": os.getpid(), "got": got}))`;
  const { stdout } = await run("python3", ["-c", script, JSON.stringify([path, texts, later])], { timeout: 15_000 });
  return JSON.parse(stdout) as { pid: number; got: string[] };
}

/** Keeps the event loop from letting anybody in until the callers have sent all they have to send. */
function holdUntilSent(path: string): void {
  const deadlineMs = performance.now() + 10_000;
  while (!existsSync(`${path}.sent`)) assert.ok(performance.now() < deadlineMs, "the caller has sent its request");
}

test(
  "a caller comes with its process, its user and what it sent; it gets the answer, then the end",
  bounded,
  async (t) => {
    const path = makePath(t);
    const next = callersAt(t, path);
    const caller = callFromOutside(path, ["hello"]);
    holdUntilSent(path);
    const { connection, pid, uid, bytes } = await next();
    assert.equal(addon.send(connection, Buffer.from("answer")), 6);
    addon.close(connection);
    assert.throws(() => addon.send(connection, Buffer.from("more")), { code: "EBADF" });
    assert.deepEqual(await caller, { pid, got: ["answer"] });
    assert.deepEqual([uid, bytes.toString()], [process.getuid?.(), "hello"]);
  },
);

test("many callers at once are let in, each once", bounded, async (t) => {
  const path = makePath(t);
  const next = callersAt(t, path);
  const callers = callFromOutside(path, Array<string>(100).fill(""));
  const answers = Array.from({ length: 100 }, (_, number) => `answer ${number}`);
  for (const answer of answers) {
    const { connection } = await next();
    addon.send(connection, Buffer.from(answer));
    addon.close(connection);
  }
  assert.deepEqual((await callers).got, answers);
});

test("sends do not wait, and say where the caller is gone", bounded, async (t) => {
  const path = makePath(t);
  const next = callersAt(t, path);
  const client = connect(path).on("error", () => {});
  const { connection, bytes } = await next();
  assert.equal(bytes.length, 0); // it has sent nothing yet
  const piece = Buffer.alloc(1 << 20);
  assert.ok(addon.send(connection, piece) < piece.length, "less than a whole MiB fits a socket");
  assert.equal(addon.send(connection, piece), 0);
  client.destroy();
  await once(client, "close");
  assert.throws(() => addon.send(connection, piece), { code: "EPIPE" });
});

test("a connection can be taken over, for what comes later", bounded, async (t) => {
  const path = makePath(t);
  const next = callersAt(t, path);
  const caller = callFromOutside(path, ["first"], ", later");
  const { connection, bytes } = await next();
  const socket = new Socket({ fd: addon.takeOver(connection), allowHalfOpen: true, readable: true, writable: true });
  t.after(() => socket.destroy());
  assert.throws(() => addon.takeOver(connection), { code: "EBADF" });
  addon.close(connection); // no longer its to close
  let got = bytes.toString();
  socket.on("data", (chunk: Buffer) => (got += chunk.toString()));
  await once(socket, "end");
  assert.equal(got, "first, later");
  socket.end("answer");
  assert.deepEqual((await caller).got, ["answer"]);
});

test("the socket is root's alone whatever the umask; a path that cannot be is refused", bounded, (t) => {
  const path = makePath(t);
  const before = process.umask(0);
  t.after(() => process.umask(before));
  const door = openDoor(t, path, () => {});
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const listen = (where: string): Descriptor => addon.listen(where, 16, () => {});
  assert.throws(() => listen(path), { code: "EADDRINUSE" });
  assert.throws(() => listen(`${path}${"x".repeat(108)}`), { code: "ENAMETOOLONG" });
  assert.throws(() => listen(join(path, "below")), { code: "ENOTDIR" });
  assert.throws(() => addon.listen(`${path}2`, 0, () => {}), { code: "EINVAL" });
  assert.throws(() => addon.send(door, Buffer.from("no connection")), { code: "EINVAL" });
});

test("closed in its own callback, a door lets nobody more in", bounded, async (t) => {
  const path = makePath(t);
  let count = 0;
  const door = openDoor(t, path, (connection) => {
    count += 1;
    addon.close(door);
    addon.close(connection);
  });
  await callFromOutside(path, [""]);
  await assert.rejects(callFromOutside(path, [""]), /ConnectionRefusedError/);
  assert.equal(count, 1);
});

/** Runs JavaScript in a process of its own, where `addon` and `path` are. */
async function inProcess(t: TestContext, script: string, ...flags: string[]): Promise<string> {
  const begin = `const addon = require(${JSON.stringify(addonPath)}), path = ${JSON.stringify(makePath(t))};
    const { connect } = require("node:net");`;
  const { stdout } = await run(process.execPath, [...flags, "-e", begin + script], { timeout: 15_000 });
  return stdout.trim();
}

test(
  "a door keeps its process alive until it is closed, even uncollected; a process and a worker may end with it open",
  bounded,
  async (t) => {
    const kept = `addon.listen(path, 16, () => { console.log("called"); process.exit(0); });
    setTimeout(() => { gc(); connect(path); }, 50);`;
    assert.equal(await inProcess(t, kept, "--expose-gc"), "called");
    assert.equal(await inProcess(t, "addon.close(addon.listen(path, 16, () => {})); console.log('over');"), "over");
    const worker = `const { Worker } = require("node:worker_threads"); const { rmSync } = require("node:fs");
    const inside = "const addon = require(" + JSON.stringify(${JSON.stringify(addonPath)}) + "); addon.listen(" + JSON.stringify(path) +
      ", 16, () => {}); require('node:worker_threads').parentPort.postMessage('ready');";
    (async () => { for (let n = 0; n < 5; n += 1) { const worker = new Worker(inside, { eval: true });
      await new Promise((resolve, reject) => { worker.once("message", resolve); worker.once("error", reject); });
      await worker.terminate(); rmSync(path); } console.log("ended"); })();`;
    assert.equal(await inProcess(t, worker), "ended");
  },
);

test(
  "what the callback throws ends the process as an uncaught exception does; promises go on behind it",
  bounded,
  async (t) => {
    const thrown = `process.on("uncaughtException", (error) => { console.log(error.message); process.exit(0); });
    addon.listen(path, 16, () => { throw new Error("thrown in callback"); }); connect(path);`;
    assert.equal(await inProcess(t, thrown), "thrown in callback");
    const promised = `addon.listen(path, 16, async () => { await null; console.log("went on"); process.exit(0); }); connect(path);`;
    assert.equal(await inProcess(t, promised), "went on");
  },
);

test(
  "without a descriptor left, callers are turned away at once, and let in again when there is one",
  bounded,
  async (t) => {
    const client = join(makePath(t), "..", "client.cjs");
    // A client in a process of its own: this one has no descriptor for it.
    writeFileSync(
      client,
      `const { connect } = require("node:net"); const socket = connect(process.argv[2]); let got = "";
     socket.on("data", (bytes) => (got += bytes)).on("error", () => {}).on("close", () => console.log(got === "" ? "turned away" : got));`,
    );
    const script = `const { spawn } = require("node:child_process"); const { openSync, closeSync } = require("node:fs");
    const start = () => { const child = spawn(process.execPath, [${JSON.stringify(client)}, path], { stdio: ["ignore", "pipe", "inherit"] });
      return new Promise((done) => { let text = ""; child.stdout.on("data", (bytes) => (text += bytes)).on("end", () => done(text.trim())); }); };
    const door = addon.listen(path, 16, (connection) => { addon.send(connection, Buffer.from("let in")); addon.close(connection); });
    (async () => {
      const first = start(), fds = [];
      try { for (;;) fds.push(openSync("/dev/null")); } catch {}
      console.log(await first);
      for (const fd of fds) closeSync(fd);
      console.log(await start());
      addon.close(door);
    })();`;
    assert.equal(await inProcess(t, script), "turned away\nlet in");
  },
);

// The CNI socket against callers that misbehave: broken frames, callers that leave, a second agent, other users.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { get } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { reaped, startTestAgent, type TestAgent } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";
import { decodeReply, encodeRequest } from "../cni/wire.ts";
import { isFault } from "../base/fault.ts";
import { listen, prepareSocketPath } from "./connection.ts";
import { statusSocket } from "./status.ts";

const stdin = Buffer.from(JSON.stringify({ cniVersion: "1.1.0", name: "fairlead", type: "fairlead-cni" }));

function addFrame(netns: string): Uint8Array {
  const env = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c1",
    CNI_IFNAME: "eth0",
    CNI_NETNS: netns,
    CNI_PATH: "/opt/cni/bin",
  };
  return encodeRequest({ env: new Map(Object.entries(env)), stdin });
}

/** Sends bytes and gives all that comes back. */
function exchange(agent: TestAgent, bytes: Uint8Array, after: (socket: Socket) => void): Promise<Buffer> {
  return new Promise((done, failed) => {
    const chunks: Buffer[] = [];
    const socket = connect({ path: agent.config.paths.socket, allowHalfOpen: true }, () => {
      socket.write(bytes, () => after(socket));
    });
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.once("end", () => {
      socket.end();
      done(Buffer.concat(chunks));
    });
    socket.once("error", failed);
  });
}

function metrics(agent: TestAgent): Promise<string> {
  return new Promise((done, failed) => {
    const socketPath = statusSocket(agent.config.paths.socket);
    get({ socketPath, path: "/metrics" }, (response) => done(text(response))).once("error", failed);
  });
}

const halfClose = (socket: Socket): void => void socket.end();

function errorOf(reply: Buffer): { code: number; msg: string } {
  const { exitCode, stdout } = decodeReply(reply);
  assert.equal(exitCode, 1);
  return JSON.parse(Buffer.from(stdout).toString()) as { code: number; msg: string };
}

test("broken frames are answered with an error, and the agent goes on", async (t) => {
  const agent = await startTestAgent(t);
  const whole = addFrame("/run/netns/none");
  const newer = Uint8Array.from(whole);
  newer[5] = 2;
  const huge = Uint8Array.from(whole);
  huge.set([0x7f, 0xff, 0xff, 0xff], 8);
  const cases: [string, Uint8Array, RegExp][] = [
    ["nothing", new Uint8Array(), /ended its request before it was complete/],
    ["other letters", Buffer.from("GET / HTTP/1.1\r\n\r\n"), /FRLD/],
    ["half a header", whole.subarray(0, 7), /before it was complete/],
    ["half a body", whole.subarray(0, 40), /before it was complete/],
    ["a newer version", newer, /version 2/],
    ["a body beyond the bound", huge, /at most 1048576/],
  ];
  for (const [what, bytes, words] of cases) {
    const { code, msg } = errorOf(await exchange(agent, bytes, halfClose));
    assert.equal(code, 110, what);
    assert.match(msg, words, what);
  }
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
});

test("a frame that comes byte by byte is whole in the end", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const frame = addFrame(pod.path);
  const reply = await exchange(agent, frame.subarray(0, 1), (socket) => {
    const rest = frame.subarray(1);
    const next = (at: number): void => {
      if (at === rest.length) return halfClose(socket);
      socket.write(rest.subarray(at, at + 1), () => next(at + 1));
    };
    next(0);
  });
  assert.equal(decodeReply(reply).exitCode, 0);
  assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0);
});

test("a caller that leaves during ADD leaves no attachment behind", async (t) => {
  const agent = await startTestAgent(t);
  const pods = Array.from({ length: 8 }, () => makeNetns(t));
  for (const [number, pod] of pods.entries()) {
    await new Promise<void>((done, failed) => {
      const socket = connect(agent.config.paths.socket, () => {
        socket.write(addFrame(pod.path), () => {
          socket.destroy();
          done();
        });
      });
      socket.once("error", failed);
    });
    const count = new RegExp(`fairlead_cni_duration_seconds_count\\{verb="ADD",outcome="ok"\\} ${number + 1}\n`);
    await until("ADD was made", async () => count.test(await metrics(agent)));
    await until("the attachment is taken back", async () => {
      const links = await agent.kernel().node.links();
      return !links.some(({ name }) => name.startsWith("fl")) && (await agent.kernel().guard.list())?.length === 0;
    });
    assert.doesNotMatch(pod.run("ip", "link"), /eth0/);
  }
  await reaped(agent);
  const last = makeNetns(t);
  await agent.add({ netns: last.path }); // the same container id is free
});

test("two agents on one socket: the second is refused, the first goes on", async (t) => {
  const agent = await startTestAgent(t);
  await assert.rejects(
    prepareSocketPath(agent.config.paths.socket),
    (error) => isFault(error, "io-failure") && /another agent answers/.test(error.message),
  );
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
});

test("sockets are root's alone, whatever the umask", async (t) => {
  const before = process.umask(0);
  t.after(() => process.umask(before));
  const agent = await startTestAgent(t);
  const { socket } = agent.config.paths;
  assert.equal(statSync(dirname(socket)).mode & 0o777, 0o700);
  for (const path of [socket, socket.replace("cni.sock", "status.sock")]) {
    assert.equal(statSync(path).mode & 0o777, 0o600, path);
  }
});

test("what others make while the agent begins to listen has the mode they asked for", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-listen-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const server = createServer();
  t.after(() => server.close());
  const listening = listen(server, join(directory, "status.sock"));
  const made = join(directory, "releases");
  mkdirSync(made, { mode: 0o700 });
  await listening;
  assert.equal(statSync(made).mode & 0o777, 0o700);
});

test("a caller that is not root gets no answer, even where the socket's mode would let it in", async (t) => {
  const agent = await startTestAgent(t);
  const { socket } = agent.config.paths;
  for (let directory = dirname(socket); directory !== tmpdir(); directory = dirname(directory))
    chmodSync(directory, 0o755);
  chmodSync(socket, 0o666);
  agent.audit.expectDamage(/mode 0755, not 0700$|mode 0666, not 0600$/, "opened above");
  const script = `
    import socket, sys
    s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1])
    try:
        s.sendall(sys.stdin.buffer.read())
        s.shutdown(socket.SHUT_WR)
        print(len(s.recv(65536)))
    except OSError:
        print(0)
  `.replaceAll(/^ {4}/gm, "");
  const child = spawn("python3", ["-c", script, socket], { uid: 65_534, gid: 65_534, timeout: 20_000 });
  child.stdin.end(addFrame("/run/netns/none"));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  assert.equal(stdout.trim(), "0", stderr);
});

// Holds the real build/fairlead-cni to its behaviour, against small servers that answer well, badly, late and never.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { bodyLengthMax, decodeRequest, encodeReply } from "../src/cni/wire.ts";
import { errorOf, finish, header, makeDirectory, releasesIn, runShim, serve, shimPath, toAgent } from "./shim.ts";
import { until } from "./until.ts";

const bounded = { timeout: 20_000 };
const versionText =
  '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n';

test("without CNI_COMMAND it says what it is, on stderr", bounded, async () => {
  for (const env of [{}, { CNI_COMMAND: "" }]) {
    const { exitCode, stdout, stderr } = await runShim({ env });
    assert.equal(exitCode, 0);
    assert.equal(stdout.length, 0);
    assert.match(stderr, /0\.1\.0, 0\.2\.0, 0\.3\.0, 0\.3\.1, 0\.4\.0, 1\.0\.0, 1\.1\.0/);
  }
});

test("VERSION needs neither stdin nor agent", bounded, async () => {
  const child = spawn(shimPath, [], { env: { CNI_COMMAND: "VERSION", FAIRLEAD_SOCKET: "/nowhere" }, timeout: 15_000 });
  const stdout: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  await once(child, "close"); // its stdin is still open
  assert.equal(child.exitCode, 0);
  assert.equal(Buffer.concat(stdout).toString(), versionText);
});

test("a call is handed over whole, and the answer given back as it is", bounded, async (t) => {
  const path = join(makeDirectory(t), "cni.sock");
  const frames: Buffer[] = [];
  const replies = [
    { exitCode: 0, stdout: Buffer.from('{"ips":[]}') },
    { exitCode: 1, stdout: Buffer.from([0, 255, 10, 13]) },
    { exitCode: 255, stdout: Buffer.alloc(0) },
    { exitCode: 7, stdout: Buffer.alloc(bodyLengthMax, "x") },
  ];
  await serve(t, path, (socket, received) => {
    frames.push(received);
    socket.end(encodeReply(replies[frames.length - 1] ?? { exitCode: 99, stdout: Buffer.alloc(0) }));
  });
  const stdin = Buffer.from([...Buffer.from('{"name":"é"}'), 0, 255, 254, 10]);
  const wanted = {
    CNI_NETNS: "/run/netns/é",
    CNI_ARGS: "A=B;C=D",
    CNI_: "odd",
    TRACEPARENT: "00-1",
    TRACESTATE: "",
    BAGGAGE: "k=v",
  };
  const unwanted = { PATH: "/bin", TRACEPARENTS: "no", XCNI_A: "no", HOME: "/" };
  for (const [n, { exitCode, stdout }] of replies.entries()) {
    const outcome = await runShim({
      env: { ...toAgent("ADD", path), FAIRLEAD_REPLY_MS: "9000", ...wanted, ...unwanted },
      stdin,
    });
    assert.equal(outcome.exitCode, exitCode);
    assert.ok(outcome.stdout.equals(stdout));
    assert.equal(outcome.stderr, "");
    const request = decodeRequest(frames[n] ?? Buffer.alloc(0));
    assert.deepEqual(Object.fromEntries(request.env), {
      CNI_COMMAND: "ADD",
      CNI_CONTAINERID: "c1",
      CNI_IFNAME: "eth0",
      ...wanted,
    });
    assert.ok(Buffer.from(request.stdin).equals(stdin));
  }
});

test("the frame on the wire is the agreed one, byte for byte", bounded, async (t) => {
  const path = join(makeDirectory(t), "cni.sock");
  const { promise: frame, resolve } = Promise.withResolvers<Buffer>();
  await serve(t, path, (socket, received) => {
    resolve(received);
    socket.end(Buffer.concat([header("FRLD", 1, 0, 2), Buffer.from("{}")]));
  });
  const outcome = await runShim({ env: { CNI_COMMAND: "CHECK", FAIRLEAD_SOCKET: path }, stdin: "{}" });
  assert.equal(outcome.stdout.toString(), "{}");
  const body = Buffer.concat([Buffer.from([0, 11, 0, 0, 0, 5]), Buffer.from("CNI_COMMANDCHECK{}")]);
  assert.deepEqual(await frame, Buffer.concat([header("FRLD", 1, 1, body.length), body]));
});

test("stdin is taken up to the frame's limit and refused beyond", bounded, async (t) => {
  const path = join(makeDirectory(t), "cni.sock");
  let received = 0;
  await serve(t, path, (socket, bytes) => {
    received = bytes.length;
    socket.end(header("FRLD", 1, 0, 0));
  });
  const env = { CNI_COMMAND: "ADD", FAIRLEAD_SOCKET: path };
  const room = bodyLengthMax - 6 - "CNI_COMMANDADD".length;
  assert.equal((await runShim({ env, stdin: Buffer.alloc(room, " ") })).exitCode, 0);
  assert.equal(received, 12 + bodyLengthMax);
  for (const [verb, length] of [
    ["ADD", room + 1],
    ["DEL", room + 1],
    ["ADD", 3 * room],
  ] as const) {
    const { code, msg } = errorOf(
      await runShim({ env: { ...env, CNI_COMMAND: verb }, stdin: Buffer.alloc(length, " ") }),
    );
    assert.equal(code, 6);
    assert.match(msg, new RegExp(`limit of ${room} bytes`));
  }
});

test("too many or too long variables are refused by name of the limit", bounded, async (t) => {
  const path = join(makeDirectory(t), "cni.sock");
  const many = Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`CNI_X${n}`, ""]));
  const refused = errorOf(await runShim({ env: { CNI_COMMAND: "ADD", FAIRLEAD_SOCKET: path, ...many } }));
  assert.deepEqual([refused.code, /64 CNI_ variables/.test(refused.msg)], [4, true]);
  const long = errorOf(await runShim({ env: { CNI_COMMAND: "ADD", FAIRLEAD_SOCKET: `/${"x".repeat(107)}` } }));
  assert.equal(long.code, 4);
  assert.match(long.msg, /FAIRLEAD_SOCKET is 108 bytes long, a socket path at most 107/);
});

test("it waits for an agent that comes late", bounded, async (t) => {
  const path = join(makeDirectory(t), "cni.sock");
  const env = { ...toAgent("ADD", path), FAIRLEAD_CONNECT_MS: "5000", FAIRLEAD_REPLY_MS: "5000" };
  const child = spawn(shimPath, [], { env, timeout: 15_000, killSignal: "SIGKILL" });
  const outcome = finish(child, "", performance.now());
  // It has tried at least once when it rests before the next try.
  await until("the plugin waits", () => readFileSync(`/proc/${child.pid}/wchan`, "utf8").includes("nanosleep"));
  await serve(t, path, (socket) => socket.end(header("FRLD", 1, 0, 0)));
  assert.equal((await outcome).exitCode, 0);
});

test(
  "a STATUS over which an agent dies is answered by the next agent; other verbs are not asked twice",
  bounded,
  async (t) => {
    const path = join(makeDirectory(t), "cni.sock");
    let asked = 0;
    const dying = await serve(t, path, (socket) => {
      asked += 1;
      socket.destroy();
      dying.close(); // its path goes with it
    });
    const bounds = { FAIRLEAD_CONNECT_MS: "5000", FAIRLEAD_REPLY_MS: "5000" };
    const outcome = runShim({ env: toAgent("STATUS", path, bounds) });
    await once(dying, "close");
    await serve(t, path, (socket) => {
      asked += 1;
      socket.end(header("FRLD", 1, 0, 0));
    });
    assert.deepEqual([(await outcome).exitCode, asked], [0, 2]);

    const other = join(makeDirectory(t), "cni.sock");
    await serve(t, other, (socket) => {
      asked += 1;
      socket.destroy();
    });
    for (const verb of ["ADD", "CHECK", "GC"]) {
      asked = 0;
      assert.equal(errorOf(await runShim({ env: toAgent(verb, other, bounds) })).code, 11, verb);
      assert.equal(asked, 1, verb);
    }
  },
);

test("without an agent every verb but DEL fails within the bound, and says where to look", bounded, async (t) => {
  const path = join(makeDirectory(t), 'c"\\\n.sock');
  for (const [verb, expected] of [
    ["ADD", 11],
    ["CHECK", 11],
    ["GC", 11],
    ["FOO", 11],
    ["STATUS", 50],
  ] as const) {
    const outcome = await runShim({ env: toAgent(verb, path) });
    const { code, msg } = errorOf(outcome);
    assert.equal(code, expected, verb);
    assert.ok(
      msg.includes(path) && msg.includes("No such file or directory") && msg.includes("log of the Fairlead agent"),
      msg,
    );
    assert.ok(outcome.tookMs >= 100 && outcome.tookMs < 3000, `${outcome.tookMs} ms`);
  }
});

test("a DEL without an agent is left as a durable release file, whatever the file mask", bounded, async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, "run", "fairlead", "cni.sock");
  const stdin = '{"cniVersion":"1.1.0","name":"fairlead"}';
  for (const shell of ['umask 0; exec "$0"', 'umask 0777; exec "$0"']) {
    const { exitCode, stdout, stderr } = await runShim({ env: toAgent("DEL", path), stdin, shell });
    assert.deepEqual([exitCode, stdout.length, stderr], [0, 0, ""]);
  }
  const files = releasesIn(join(directory, "run", "fairlead"));
  assert.equal(files.length, 2);
  for (const file of files) {
    assert.match(file, /^\d{19}-\d+\.release$/);
    const full = join(directory, "run", "fairlead", "releases", file);
    assert.equal(statSync(full).mode & 0o7777, 0o600);
    const { env, stdin: left } = decodeRequest(readFileSync(full));
    assert.deepEqual(
      [env.get("CNI_COMMAND"), env.get("CNI_CONTAINERID"), env.get("CNI_IFNAME")],
      ["DEL", "c1", "eth0"],
    );
    assert.equal(Buffer.from(left).toString(), stdin);
  }
  for (const made of ["run", "run/fairlead", "run/fairlead/releases"])
    assert.equal(statSync(join(directory, made)).mode & 0o7777, 0o700, made);
});

test("an agent that hangs, breaks off or talks nonsense counts as away", bounded, async (t) => {
  const directory = makeDirectory(t);
  const whole = Buffer.concat([header("FRLD", 1, 0, 5), Buffer.from("hello")]);
  const replies: [string, Buffer | undefined][] = [
    ["nothing, for ever", undefined],
    ["nothing", Buffer.alloc(0)],
    ["half a header", whole.subarray(0, 7)],
    ["half a body", whole.subarray(0, 14)],
    ["another protocol", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["another protocol of our shape", header("FRLE", 1, 0, 0)],
    ["an unknown version", header("FRLD", 2, 0, 0)],
    ["an impossible exit code", header("FRLD", 1, 256, 0)],
    ["an impossible length", header("FRLD", 1, 0, bodyLengthMax + 1)],
  ];
  for (const [n, [name, bytes]] of replies.entries()) {
    const path = join(directory, `${n}`, "cni.sock");
    await runShim({ env: toAgent("DEL", path) }); // makes the directory, and leaves a first file
    await serve(t, path, (socket) => (bytes === undefined ? undefined : socket.end(bytes)));
    const added = errorOf(await runShim({ env: toAgent("ADD", path) }));
    assert.equal(added.code, 11, name);
    const deleted = await runShim({ env: toAgent("DEL", path) });
    assert.deepEqual([deleted.exitCode, deleted.stdout.length], [0, 0], name);
    assert.equal(releasesIn(join(directory, `${n}`)).length, 2, name);
    assert.equal(errorOf(await runShim({ env: toAgent("STATUS", path) })).code, 50, name);
  }
});

test("an agent's own error answer to DEL is passed on and leaves no release file", bounded, async (t) => {
  const directory = makeDirectory(t);
  await serve(t, join(directory, "cni.sock"), (socket) =>
    socket.end(encodeReply({ exitCode: 1, stdout: Buffer.from("busy") })),
  );
  const env = toAgent("DEL", join(directory, "cni.sock"), { FAIRLEAD_REPLY_MS: "5000" });
  const outcome = await runShim({ env });
  assert.deepEqual([outcome.exitCode, outcome.stdout.toString()], [1, "busy"]);
  assert.deepEqual(readdirSync(directory), ["cni.sock"]);
});

test("an answer that comes before the request was read is an answer", bounded, async (t) => {
  const path = join(makeDirectory(t), "cni.sock");
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.pause();
    socket.write(encodeReply({ exitCode: 3, stdout: Buffer.from("too busy") }), () => socket.destroy());
  });
  t.after(() => server.close());
  server.listen(path);
  await once(server, "listening");
  const outcome = await runShim({
    env: { ...toAgent("ADD", path), FAIRLEAD_REPLY_MS: "5000" },
    stdin: Buffer.alloc(900_000, " "),
  });
  assert.deepEqual([outcome.exitCode, outcome.stdout.toString()], [3, "too busy"]);
});

test("a DEL that can be neither sent nor left behind fails, and says why", bounded, async (t) => {
  const directory = makeDirectory(t);
  writeFileSync(join(directory, "file"), "");
  const { code, msg } = errorOf(await runShim({ env: toAgent("DEL", join(directory, "file", "cni.sock")) }));
  assert.equal(code, 5);
  assert.ok(msg.includes(join(directory, "file", "releases")) && msg.includes("Not a directory"), msg);
  const missing: [Record<string, string>, string][] = [
    [{ CNI_CONTAINERID: "" }, "missing: CNI_CONTAINERID"],
    [{ CNI_IFNAME: "" }, "missing: CNI_IFNAME"],
    [{ CNI_CONTAINERID: "", CNI_IFNAME: "" }, "missing: CNI_CONTAINERID, CNI_IFNAME"],
  ];
  for (const [more, text] of missing) {
    const refused = errorOf(await runShim({ env: toAgent("DEL", join(directory, "cni.sock"), more) }));
    assert.equal(refused.code, 4);
    assert.ok(refused.msg.endsWith(text), refused.msg);
  }
  assert.deepEqual(readdirSync(directory), ["file"]);
});

test("output that cannot be written is a failure, never a signal", bounded, async (t) => {
  const path = join(makeDirectory(t), "cni.sock");
  await serve(t, path, (socket) => socket.end(encodeReply({ exitCode: 0, stdout: Buffer.alloc(500_000, "x") })));
  const add = { ...toAgent("ADD", path), FAIRLEAD_REPLY_MS: "5000", PATH: "/usr/bin:/bin" };
  for (const redirection of [">/dev/full", ">&-", "<&- >&- 2>&-"]) {
    const shell = `exec "$0" ${redirection}`;
    assert.equal((await runShim({ env: { CNI_COMMAND: "VERSION" }, shell })).exitCode, 1, redirection);
    assert.equal((await runShim({ env: add, shell })).exitCode, 1, redirection);
  }
  const piped = await runShim({ env: add, shell: '{ "$0"; echo "left with $?" >&2; } | head -c 1000 >/dev/null' });
  assert.equal(piped.stderr, "left with 1\n");
  assert.equal((await runShim({ env: add, shell: 'exec "$0" <&-' })).exitCode, 0);
});

test("the binary is static: it asks for no loader", bounded, () => {
  const bytes = readFileSync(shimPath);
  const [interpreter, headersAt, headerLength, count] = [
    3,
    Number(bytes.readBigUInt64LE(32)),
    bytes.readUInt16LE(54),
    bytes.readUInt16LE(56),
  ];
  const types = Array.from({ length: count }, (_, n) => bytes.readUInt32LE(headersAt + n * headerLength));
  assert.ok(types.length > 0 && !types.includes(interpreter));
});

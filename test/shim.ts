// Owns how tests call the real build/fairlead-cni, and servers that take an agent's place.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { type Server, type Socket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

/** The binary under test. */
export const shimPath = fileURLToPath(new URL("../build/fairlead-cni", import.meta.url));
/** What a call has left behind. */
export interface Outcome {
  exitCode: number | null;
  stdout: Buffer;
  stderr: string;
  tookMs: number;
}

/** One call of the binary. */
export interface Call {
  env?: Record<string, string>;
  stdin?: string | Buffer;
  /** A shell command around the binary "$0", for redirections. */
  shell?: string;
}

/** Runs the binary with exactly this environment. One that hangs is killed and fails the test. */
export async function runShim({ env = {}, stdin = "", shell }: Call): Promise<Outcome> {
  const startedMs = performance.now();
  const options = { env, timeout: 15_000, killSignal: "SIGKILL" as const };
  const child = shell === undefined ? spawn(shimPath, [], options) : spawn("/bin/sh", ["-c", shell, shimPath], options);
  return finish(child, stdin, startedMs);
}

/** Gives what a started binary leaves behind. */
export async function finish(child: ChildProcess, stdin: string | Buffer, startedMs: number): Promise<Outcome> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin?.on("error", () => undefined); // it may refuse before it has read everything
  child.stdin?.end(stdin);
  const [exitCode, signal] = (await once(child, "close")) as [number | null, string | null];
  assert.equal(signal, null, `the plugin was killed by ${signal}`);
  const tookMs = performance.now() - startedMs;
  return { exitCode, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString(), tookMs };
}

/** A directory for one test, removed after it. */
export function makeDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "fltest-shim-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Serves `path`; `answer` gets each connection with all that came before its half-close. */
export async function serve(
  t: TestContext,
  path: string,
  answer: (socket: Socket, received: Buffer) => void,
): Promise<Server> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const received: Buffer[] = [];
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => received.push(chunk));
    socket.on("end", () => answer(socket, Buffer.concat(received)));
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  server.listen(path);
  await once(server, "listening");
  return server;
}

/** The error object that a failed call has printed. */
export function errorOf({ stdout, exitCode }: Outcome): { code: number; msg: string } {
  assert.equal(exitCode, 1);
  const parsed = JSON.parse(stdout.toString()) as { cniVersion: string; code: number; msg: string };
  assert.deepEqual(Object.keys(parsed), ["cniVersion", "code", "msg"]);
  assert.equal(parsed.cniVersion, "1.1.0");
  return parsed;
}

/** A call of `verb` to the agent at `path`, with short bounds. */
export function toAgent(verb: string, path: string, more: Record<string, string> = {}): Record<string, string> {
  const bounds = { FAIRLEAD_CONNECT_MS: "100", FAIRLEAD_REPLY_MS: "200" };
  return { CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", FAIRLEAD_SOCKET: path, ...bounds, ...more };
}

/** The header of a reply frame, a wrong one too. */
export function header(magic: string, version: number, code: number, length: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.write(magic, "latin1");
  bytes.writeUInt16BE(version, 4);
  bytes.writeUInt16BE(code, 6);
  bytes.writeUInt32BE(length, 8);
  return bytes;
}

/** The release files left beside the socket of `directory`, oldest first. */
export function releasesIn(directory: string): string[] {
  return readdirSync(join(directory, "releases")).sort();
}

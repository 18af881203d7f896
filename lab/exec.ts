// Runs one short program to its end, inside a namespace if asked: bounded time and output, failures told with the program's own words.

import { spawn } from "node:child_process";
import { Fault } from "../src/base/fault.ts";

export interface ExecOptions {
  /** Name of the network namespace (as `ip netns` knows it) to run in; the caller's own if absent. */
  netns?: string;
  /** What the program reads on stdin; nothing if absent. */
  input?: string;
  /** The whole environment of the program. */
  env: Readonly<Record<string, string>>;
  /** The program is killed after this long. */
  timeoutMs?: number;
}

export interface Outcome {
  /** Exit code; undefined where a signal ended the program. */
  code: number | undefined;
  stdout: string;
  stderr: string;
  timedOut: boolean;
}

const timeoutDefaultMs = 20_000;

/** More than this on one stream is a mistake; the rest is dropped. */
const outputLenMax = 4 * 1024 * 1024;

/** The command line that runs `program` in `netns`: `ip netns exec` becomes the program, so the pid stays the same. */
export function inNetns(netns: string | undefined, program: string, args: readonly string[]): [string, string[]] {
  return netns === undefined ? [program, [...args]] : ["ip", ["netns", "exec", netns, program, ...args]];
}

/**
 * Runs a program and gives how it ended, whatever its exit code.
 * @throws Fault "lab-failed" where the program cannot be started.
 */
export function exec(program: string, args: readonly string[], options: ExecOptions): Promise<Outcome> {
  const { netns, input = "", env, timeoutMs = timeoutDefaultMs } = options;
  const [file, argv] = inNetns(netns, program, args);
  return new Promise((resolve, reject) => {
    const child = spawn(file, argv, { env, stdio: ["pipe", "pipe", "pipe"] });
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.on("error", (cause) => {
      clearTimeout(timer);
      reject(new Fault("lab-failed", `cannot start ${file}; is it installed?`, { cause }));
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? undefined, stdout: stdout(), stderr: stderr(), timedOut });
    });
    child.stdin.on("error", () => {}); // a program may end without reading; its exit code tells what matters
    child.stdin.end(input);
  });
}

/**
 * Runs a program that must succeed and gives its stdout.
 * @throws Fault "lab-failed" with the command and what it said.
 */
export async function execOk(program: string, args: readonly string[], options: ExecOptions): Promise<string> {
  const outcome = await exec(program, args, options);
  if (outcome.code === 0) return outcome.stdout;
  const where = options.netns === undefined ? "" : ` in ${options.netns}`;
  throw new Fault("lab-failed", `${[program, ...args].join(" ")}${where} failed: ${failureText(outcome)}`);
}

/** What a failed program said, in one line. */
export function failureText({ code, stdout, stderr, timedOut }: Outcome): string {
  if (timedOut) return "it did not end in time and was killed";
  const said = (stderr.trim() === "" ? stdout : stderr).trim().replaceAll(/\s*\n\s*/g, "; ");
  const how = code === undefined ? "ended by a signal" : `exit ${code}`;
  return said === "" ? `${how}, no message` : `${how}: ${said}`;
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on("data", (chunk: Buffer) => {
    if (length < outputLenMax) chunks.push(chunk);
    length += chunk.length;
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

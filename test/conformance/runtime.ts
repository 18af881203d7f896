// A container runtime's hands, bare: runs a plugin with exactly the environment and bytes given, and judges the form of every answer.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";

/** Longest a plugin may take here: above its own longest bound. */
const callWaitMs = 90_000;

export interface RawCall {
  env: Readonly<Record<string, string>>;
  /** Absent: standard input is empty and closed. */
  stdin?: string | Uint8Array;
  /** A shell command that runs the plugin as "$0": for redirections, masks and tools around it. */
  around?: string;
  uid?: number;
  /** False where the caller looks at an answer that may be cut off. */
  judged?: boolean;
}

export interface Outcome {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  tookMs: number;
}

export interface CniError {
  cniVersion?: string;
  code: number;
  msg: string;
  details?: string;
}

/** A result of 0.3.0 or later. */
export interface Result {
  cniVersion: string;
  interfaces: ResultInterface[];
  ips: ResultIp[];
  routes: { dst: string; gw?: string; mtu?: number; [more: string]: unknown }[];
  dns?: { nameservers?: string[]; domain?: string; search?: string[]; options?: string[] };
}

export interface ResultInterface {
  name: string;
  mac?: string;
  mtu?: number;
  sandbox?: string;
  [more: string]: unknown;
}

export interface ResultIp {
  version?: string;
  interface?: number;
  address: string;
  gateway?: string;
}

/** Codes that the specification (1.1, "Error") or its library give a meaning; 100 and more are the plugin's own. */
const reservedCodes: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51]);

/** Runs `program` once. Every answer must have the form that callers rely on, whatever it says. */
export async function runPlugin(program: string, call: RawCall): Promise<Outcome> {
  const { env, stdin = "", around, uid, judged = true } = call;
  const options = { env, timeout: callWaitMs, killSignal: "SIGKILL" as const, ...(uid === undefined ? {} : { uid }) };
  const startedMs = performance.now();
  const child = around === undefined ? spawn(program, [], options) : spawn("/bin/sh", ["-c", around, program], options);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on("error", () => {}); // a plugin may answer without reading its input
  child.stdin.end(stdin);
  const [exitCode, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  const outcome: Outcome = {
    exitCode,
    signal,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
    tookMs: performance.now() - startedMs,
  };
  if (judged) judge(outcome);
  return outcome;
}

/** What holds for every answer: one JSON document on stdout or nothing, a whole error object on failure, no stack trace, no log on stdout. */
function judge(outcome: Outcome): void {
  const { exitCode, signal, stdout, stderr } = outcome;
  assert.equal(signal, null, `the plugin was ended by ${signal}`);
  assert.doesNotMatch(stderr, /^\s+at \S+.*:\d+/m, "no stack trace");
  if (exitCode === 0) {
    if (stdout !== "") oneDocument(stdout);
    return;
  }
  const { code, msg, cniVersion } = errorOf(outcome);
  assert.ok(reservedCodes.has(code) || code >= 100, `code ${code} has a meaning or is the plugin's own: ${msg}`);
  assert.ok(code !== 999, `no unexpected failure: ${msg}`);
  assert.ok(msg.length > 0, "msg says something");
  assert.match(cniVersion ?? "", /^\d+\.\d+\.\d+$/, "an error carries its version");
}

function oneDocument(stdout: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(stdout);
  } catch {
    assert.fail(`stdout is not exactly one JSON document: ${JSON.stringify(stdout)}`);
  }
  assert.ok(typeof parsed === "object" && parsed !== null && !Array.isArray(parsed), `an object: ${stdout}`);
  return parsed as Record<string, unknown>;
}

/** The error object of a call that must have failed. */
export function errorOf({ exitCode, stdout }: Outcome): CniError {
  assert.notEqual(exitCode, 0, `it succeeded: ${stdout}`);
  const { cniVersion, code, msg, details } = oneDocument(stdout);
  assert.ok(typeof code === "number" && Number.isInteger(code), `code is a whole number: ${stdout}`);
  assert.ok(typeof msg === "string", `msg is text: ${stdout}`);
  return {
    code,
    msg,
    ...(typeof cniVersion === "string" ? { cniVersion } : {}),
    ...(typeof details === "string" ? { details } : {}),
  };
}

/** The call must have failed with one of `codes` ("any": whatever it is), and say every one of `words`. Gives the error. */
export function refused(
  outcome: Outcome,
  codes: number | readonly number[] | "any",
  ...words: readonly (string | RegExp)[]
): CniError {
  const error = errorOf(outcome);
  const allowed = typeof codes === "number" ? [codes] : codes;
  assert.ok(
    allowed === "any" || allowed.includes(error.code),
    `code ${String(codes)}, not ${error.code}: ${error.msg}`,
  );
  const text = `${error.msg} ${error.details ?? ""}`;
  for (const word of words) {
    const said = typeof word === "string" ? text.includes(word) : word.test(text);
    assert.ok(said, `${word} in: ${text}`);
  }
  return error;
}

/** DEL, CHECK, STATUS and GC: success is exit code 0 and nothing printed anywhere. */
export function silent({ exitCode, stdout, stderr }: Outcome): void {
  assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: "", stderr: "" });
}

/** The document of a call that must have succeeded with one. */
export function documentOf({ exitCode, stdout }: Outcome): Record<string, unknown> {
  assert.equal(exitCode, 0, stdout);
  return oneDocument(stdout);
}

/** The result of an ADD that must have succeeded, in the shape of 0.3.0 and later. */
export function resultOf(outcome: Outcome): Result {
  const result = documentOf(outcome);
  for (const key of ["interfaces", "ips", "routes"]) assert.ok(Array.isArray(result[key]), `${key} is a list`);
  return result as { [key: string]: unknown } & Result;
}

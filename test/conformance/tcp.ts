// TCP listeners and callers in namespaces, as python makes them: started before ADD, so that a call can follow it at once.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { present } from "../../src/base/assert.ts";
import type { TestNetns } from "../netns.ts";
import type { Scope } from "./node.ts";

const eye = fileURLToPath(new URL("tcp-eye.py", import.meta.url));
/** Longest wait for one line of an eye: its own bound for a call is 5 s. */
const lineWaitMs = 15_000;

interface Eye {
  child: ChildProcessWithoutNullStreams;
  nextLine: () => Promise<string>;
}

async function startEye(t: Scope, ns: TestNetns, ...args: string[]): Promise<Eye> {
  const child = spawn("ip", ["netns", "exec", ns.name, "python3", eye, ...args], { stdio: "pipe" });
  const ended = once(child, "close");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => {
    const late = AbortSignal.timeout(lineWaitMs);
    const line = await Promise.race([lines.next(), once(late, "abort").then(() => undefined)]);
    return present(line, `a line of ${args.join(" ")} within ${lineWaitMs} ms`).value ?? "it ended";
  };
  await nextLine(); // it is ready
  return { child, nextLine };
}

/** Listens on every address of `ns` until the test ends, those that come later too. */
export async function listenIn(t: Scope, ns: TestNetns, port: number): Promise<void> {
  await startEye(t, ns, "listen", String(port));
}

/** Gives a caller in `ns`: it connects within a millisecond or so, and tells as whom the listener saw it, or "failed: …". */
export async function callerIn(t: Scope, ns: TestNetns): Promise<(host: string, port: number) => Promise<string>> {
  const { child, nextLine } = await startEye(t, ns, "call");
  return (host, port) => {
    child.stdin.write(`${host} ${port}\n`);
    return nextLine();
  };
}

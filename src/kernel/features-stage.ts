// Where features are tried: network namespaces that live as long as a child process which does nothing, and end with it, whatever happens to us.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { assert } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import type { Addon, Lane } from "./addon.ts";
import type { Netns } from "./contract.ts";
import { type NetnsHandle, openNetns } from "./netlink/netns.ts";

/** Two fresh namespaces. */
export interface Stage {
  first: Netns;
  second: Netns;
  /** Each sends a request on a socket of the first namespace and gives the answer. */
  routeCall: (request: Uint8Array) => Promise<Buffer>;
  netfilterCall: (request: Uint8Array) => Promise<Buffer>;
}

export interface StageOptions {
  addon: Addon;
  /** The program unshare(1) of util-linux. */
  unshare: string;
}

/** How long a child may take to begin or to end, and the kernel to answer. */
const waitMs = 5000;

/**
 * Calls `work` with two fresh namespaces, which are gone when it has settled.
 * @throws Fault "machine-unfit" where no namespace can be made, with the reason and the cure
 */
export function withStage<T>({ addon, unshare }: StageOptions, work: (stage: Stage) => Promise<T>): Promise<T> {
  return withNamespace(unshare, (first) =>
    withNamespace(unshare, async (second) => {
      const { stage, close } = openStage(addon, first, second);
      try {
        return await work(stage);
      } finally {
        close();
      }
    }),
  );
}

async function withNamespace<T>(unshare: string, work: (path: string) => Promise<T>): Promise<T> {
  // cat holds the namespace until its input ends: when we let go of it, or die.
  const child = spawn(unshare, ["--net", "cat"]);
  try {
    return await work(await begun(child, unshare));
  } finally {
    await ended(child);
  }
}

/** Gives the path of the child's namespace once it has said a word: it is in there then. */
async function begun(child: ChildProcessWithoutNullStreams, unshare: string): Promise<string> {
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  child.stdin.on("error", () => undefined); // a child that has failed takes no input; its end says why
  child.stdin.write("in\n");
  const signal = AbortSignal.timeout(waitMs);
  const said = once(child.stdout, "data", { signal }).then(() => true);
  said.catch(() => undefined); // nobody waits for the word of a child that has ended
  try {
    if (await Promise.race([said, once(child, "close").then(() => false)])) return `/proc/${child.pid}/ns/net`;
  } catch (cause) {
    throw cannotMake(unshare, cause instanceof Error ? cause.message : String(cause));
  }
  throw cannotMake(unshare, complaint.trim());
}

async function ended(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit", { signal: AbortSignal.timeout(waitMs) });
  child.kill("SIGKILL");
  await exit;
}

function cannotMake(unshare: string, why: string): Fault {
  const cure = why.includes("ENOENT")
    ? `install util-linux, which has the program ${unshare}`
    : /not permitted|denied|EACCES/.test(why)
      ? "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN"
      : "use a kernel with network namespaces (CONFIG_NET_NS)";
  return new Fault("machine-unfit", `no network namespace can be made (${why}): ${cure}`);
}

function openStage(addon: Addon, firstPath: string, secondPath: string): { stage: Stage; close: () => void } {
  const open = new Map<Netns, NetnsHandle>();
  const own = openNetns("/proc/self/ns/net", { addon, open });
  const first = openNetns(firstPath, { addon, open });
  const second = openNetns(secondPath, { addon, open });
  // What is tried must never be tried on the machine itself.
  assert(new Set([own.id, first.id, second.id]).size === 3, "a child's namespace is a new one");
  const namespace = addon.openNetns(firstPath);
  const caller = (protocol: number, lane: Lane) => {
    const socket = addon.openNetlink(namespace, protocol);
    return { socket, call: (request: Uint8Array) => addon.call(lane, socket, request, waitMs) };
  };
  const [route, netfilter] = [caller(0, 0), caller(12, 1)];
  return {
    stage: { first, second, routeCall: route.call, netfilterCall: netfilter.call },
    close: () => {
      for (const netns of open.keys()) netns.close();
      for (const descriptor of [route.socket, netfilter.socket, namespace]) addon.close(descriptor);
    },
  };
}

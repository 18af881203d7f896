// Runs one program to its end, within a time, so that nothing of it is left: tests that need root get a machine of their own.

import { spawn } from "node:child_process";
import { homedir } from "node:os";

export interface RunOptions {
  /** Program and arguments. */
  command: readonly string[];
  cwd: string;
  /** Where temporary files go, unless the program has a machine of its own. */
  temporary: string;
  /** Network, processes and /run of its own, all gone when it has ended. Needs root. */
  ownMachine: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

export interface Ended {
  /** Exit code, undefined where it was killed. */
  code: number | undefined;
  /** Standard output and standard error, in the order in which they came. */
  output: string;
  timedOut: boolean;
}

/** More output than this is dropped. */
const outputLenMax = 1024 * 1024;

/** All that tests find in their environment. The home directory is for Go, which keeps the reference plugins' modules there. */
const environment = {
  HOME: homedir(),
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LC_ALL: "C",
};

/** Temporary files on a machine of one's own: short, since paths of sockets are, and gone with it. */
const ownTemporary = "/run/tmp";

/**
 * The first process of the machine takes in orphans, which a shell does. Named namespaces and the lab's records lie below /run;
 * mounts, namespaces, links and processes end with the last process in it.
 */
const machine = [
  "unshare",
  ..."--net --mount --pid --fork --kill-child --mount-proc --".split(" "),
  "sh",
  "-ec",
  `mount -t tmpfs none /run; mkdir -m 1777 ${ownTemporary}; ip link set lo up; "$@"; exit $?`,
  "sh",
];

/** Runs the program. Never throws for how it ends. */
export function run({ command, cwd, temporary, ownMachine, timeoutMs, signal }: RunOptions): Promise<Ended> {
  const [program = "", ...args] = ownMachine ? [...machine, ...command] : command;
  return new Promise((resolve, reject) => {
    const env = { ...environment, TMPDIR: ownMachine ? ownTemporary : temporary };
    // A process group of its own: what it has started ends with it.
    const child = spawn(program, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let timedOut = false;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        if (output.length < outputLenMax) output += text;
      });
    }
    const kill = (): void => killGroup(child.pid);
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, timeoutMs);
    signal.addEventListener("abort", kill, { once: true });
    child.once("error", reject);
    child.once("exit", kill);
    child.once("close", (code) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", kill);
      resolve({ code: code ?? undefined, output, timedOut });
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // all of it has ended
  }
}

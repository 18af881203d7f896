// A container runtime for tests: network configurations in a directory of their own, cnitool and libcni on the node, and a cache that is not the machine's.

import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { exec, type Outcome } from "../../lab/exec.ts";
import type { CniResult, TestAgent } from "../agent.ts";
import type { TestNetns } from "../netns.ts";
import { referencePath } from "./programs.ts";

/** Longest call of a whole list of plugins. */
const callWithinMs = 60_000;

/** A plugin's part of a network configuration list. */
export interface PluginConfig {
  type: string;
  [key: string]: unknown;
}

export interface CallOptions {
  ifname?: string;
  /** Capability arguments (CNI conventions): what a runtime knows of the pod. */
  capabilities?: Record<string, unknown>;
  args?: string;
}

/** What cni-runtime says of one attachment, or of the network. */
export interface CallOutcome {
  result?: CniResult;
  capabilities?: string[];
  error?: { code: number; msg: string };
  ms: number;
}

export interface Attachment {
  containerId: string;
  netns: string;
  ifname: string;
}

export interface LibcniCall {
  network: string;
  /** For GC: the list to send. Without one, none is sent. */
  attachments?: readonly Attachment[];
  capabilityArgs?: Record<string, unknown>;
  args?: readonly (readonly [string, string])[];
  /** Where not the runtime's own directory. */
  confDir?: string;
}

export interface Runtime {
  confDir: string;
  /** A directory for what plugins keep on disk (`dataDir`). */
  dataDir: string;
  /** Writes NAME.conflist. `keys` stand beside name and plugins; cniVersion is 1.1.0 unless they say another. */
  configure(name: string, plugins: readonly PluginConfig[], keys?: Record<string, unknown>): void;
  /** Runs `cnitool VERB NETWORK NETNS` on the node, whatever comes of it. */
  cnitool(verb: string, network: string, pod: Pick<TestNetns, "path">, options?: CallOptions): Promise<Outcome>;
  /** The same for calls that must succeed and, ADD excepted, be silent. @throws Error with the program's words. */
  ok(verb: string, network: string, pod: Pick<TestNetns, "path">, options?: CallOptions): Promise<string>;
  /** ADD that must succeed; gives its result. */
  add(network: string, pod: Pick<TestNetns, "path">, options?: CallOptions): Promise<CniResult>;
  /** The call must fail; gives what cnitool said. */
  refused(verb: string, network: string, pod: Pick<TestNetns, "path">, options?: CallOptions): Promise<string>;
  /** What libcni keeps of the attachments of that network: one object each. */
  cached(network: string): Record<string, unknown>[];
  /** Forgets every attachment, as a runtime whose disk was wiped. */
  forget(): void;
  /** Cuts every file of the cache in half. */
  damageCache(): void;
  /** Runs cni-runtime on the node: libcni without cnitool's limits. */
  libcni(verb: string, call: LibcniCall): Promise<CallOutcome[]>;
}

/**
 * cnitool knows one cache, /var/lib/cni. `ip netns exec` gives a program mounts of its own, from which nothing comes back:
 * there, a directory of the test's lies over /var/lib.
 */
const withOwnCache = 'mount --bind "$1" /var/lib && shift && exec "$@"';

/** Makes a runtime for the node of `agent`; plugins are found where the agent put its own, then among the reference's. */
export function createRuntime(t: TestContext, { node, config }: Pick<TestAgent, "node" | "config">): Runtime {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-runtime-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const [confDir, dataDir, varLib] = ["conf", "data", "var-lib"].map((part) => {
    mkdirSync(join(directory, part));
    return join(directory, part);
  }) as [string, string, string];
  const path = [config.paths.cniBin, referencePath];
  const results = join(varLib, "cni", "results");
  const env = {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    FAIRLEAD_SOCKET: config.paths.socket,
    FAIRLEAD_CONNECT_MS: "300",
  };
  const run = (argv: readonly string[], more: Record<string, string>, input = ""): Promise<Outcome> =>
    exec("sh", ["-c", withOwnCache, "sh", varLib, ...argv], {
      netns: node.name,
      env: { ...env, ...more },
      input,
      timeoutMs: callWithinMs,
    });

  const cnitool: Runtime["cnitool"] = (verb, network, pod, { ifname = "eth0", capabilities, args } = {}) =>
    run([join(referencePath, "cnitool"), verb, network, pod.path], {
      NETCONFPATH: confDir,
      CNI_PATH: path.join(":"),
      CNI_IFNAME: ifname,
      ...(capabilities === undefined ? {} : { CAP_ARGS: JSON.stringify(capabilities) }),
      ...(args === undefined ? {} : { CNI_ARGS: args }),
    });
  const ok: Runtime["ok"] = async (verb, network, pod, options) => {
    const { code, stdout, stderr } = await cnitool(verb, network, pod, options);
    if (code !== 0) throw new Error(`cnitool ${verb} ${network}: ${wordsOf(stderr)}`);
    if (verb !== "add" && stdout !== "") throw new Error(`cnitool ${verb} ${network} printed ${stdout}`);
    return stdout;
  };
  return {
    confDir,
    dataDir,
    configure: (name, plugins, keys = {}) =>
      writeFileSync(join(confDir, `${name}.conflist`), JSON.stringify({ cniVersion: "1.1.0", ...keys, name, plugins })),
    cnitool,
    ok,
    add: async (network, pod, options) => JSON.parse(await ok("add", network, pod, options)) as CniResult,
    refused: async (verb, network, pod, options) => {
      const { code, stderr } = await cnitool(verb, network, pod, options);
      if (code !== 1) throw new Error(`cnitool ${verb} ${network} ended with ${code}, not 1: ${wordsOf(stderr)}`);
      return wordsOf(stderr);
    },
    cached: (network) =>
      filesIn(results)
        .map((file) => JSON.parse(readFileSync(join(results, file), "utf8")) as Record<string, unknown>)
        .filter(({ networkName }) => networkName === network),
    forget: () => rmSync(results, { recursive: true, force: true }),
    damageCache: () => {
      for (const file of filesIn(results)) {
        const path = join(results, file);
        truncateSync(path, Math.floor(statSync(path).size / 2));
      }
    },
    libcni: async (verb, call) => {
      const request = { confDir, path, cacheDir: join(varLib, "cni"), ...call, verb };
      const outcome = await run([join(referencePath, "cni-runtime")], {}, JSON.stringify(request));
      if (outcome.code !== 0) throw new Error(`cni-runtime ${verb} ${call.network}: ${wordsOf(outcome.stderr)}`);
      return JSON.parse(outcome.stdout) as CallOutcome[];
    },
  };
}

function filesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // libcni makes it with the first attachment
  }
}

/** What a program said, without the usage text that cnitool adds to every error. */
function wordsOf(stderr: string): string {
  return (stderr.split("\nUsage:")[0] ?? "").trim();
}

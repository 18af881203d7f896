// One look at a node: plain programs in its namespaces, its files, its state file and what its agent says, all at once.

import { existsSync, readFileSync } from "node:fs";
import { describe } from "../../src/base/fault.ts";
import { uptimeMs } from "../../src/base/uptime.ts";
import { exec, execOk } from "../exec.ts";
import { all, allOf } from "../waiting.ts";
import { type AgentView, askAgent } from "./agent-view.ts";
import { lookAtFiles, type SeenFile } from "./files.ts";
import type { AuditedNode } from "./node.ts";
import { networkWords, readNetwork, readRules, type SeenNetwork, type SeenRule } from "./seen.ts";
import { settingsOf } from "./settings.ts";
import { type Journal, readJournal } from "./state-file.ts";

/** The inside of a pod. */
export type SeenPod = SeenNetwork & { rules: SeenRule[] };

/** Everything that one look found. */
export interface Seen {
  node: SeenNetwork;
  rules: SeenRule[];
  /** As `nft list ruleset` prints it. */
  ruleset: string;
  settings: ReadonlyMap<string, string>;
  /** The addresses of each tracked connection. */
  flows: string[][];
  files: SeenFile[];
  /** A sentence where the state file could not be read. */
  journal: Journal | string;
  /** Absent where no agent is to run; a sentence where it does not answer. */
  agent?: AgentView | string;
  /** By the paths of their namespaces; undefined where there is none. */
  pods: ReadonlyMap<string, SeenPod | undefined>;
  bootId: string;
  /** Since boot. */
  nowMs: number;
}

/** The whole environment of the programs that look. */
type Environment = Readonly<Record<string, string>>;

/** Pods that are looked at together: few cores, and one program each. */
const podsAtOnceMax = 8;

/** @throws Fault "lab-failed" where the node itself cannot be looked at */
export async function lookAtNode(node: AuditedNode, env: Environment): Promise<Seen> {
  const [network, rules, ruleset, settings, [journal, agent, pods]] = await all([
    lookAtNetwork(node.netnsPath, env),
    lookAtRules(node.netnsPath, env),
    run(node.netnsPath, ["nft", "list", "ruleset"], env),
    readSettings(node, env),
    lookAtPods(node, env),
  ]);
  const tracked = settings.get(trackedCount) ?? "0";
  return {
    node: network,
    rules,
    ruleset,
    settings,
    flows: tracked === "0" ? [] : await lookAtFlows(node.netnsPath, env),
    files: lookAtFiles(node.paths),
    journal,
    ...(agent === undefined ? {} : { agent }),
    pods,
    bootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
    nowMs: uptimeMs() + (node.clockAheadMs ?? 0),
  };
}

type Lists = [Seen["journal"], Seen["agent"], Seen["pods"]];

/** Who is attached, and then what is in the namespaces of all that anybody believes to be. */
async function lookAtPods(node: AuditedNode, env: Environment): Promise<Lists> {
  const [journal, agent] = await all([
    readJournal(node.paths.state, env),
    node.agent === "runs" ? askAgent(node.paths.socket).catch(describe) : undefined,
  ]);
  const told = [journal, agent].flatMap((list) => (typeof list === "object" ? list.attachments : []));
  const living = [...(node.known ?? []), ...told.map((one) => one.living)];
  const paths = new Set(living.flatMap(({ link }) => (typeof link === "object" ? link.netnsPath : [])));
  const pods = await allOf([...paths], podsAtOnceMax, async (path) => [path, await lookAtPod(path, env)] as const);
  return [journal, agent, new Map(pods)];
}

/** A pod's namespace can go while it is looked at. */
async function lookAtPod(path: string, env: Environment): Promise<SeenPod | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    const [network, rules] = await all([lookAtNetwork(path, env), lookAtRules(path, env)]);
    return { ...network, rules };
  } catch (error) {
    if (!existsSync(path)) return undefined;
    throw error;
  }
}

async function lookAtNetwork(netnsPath: string, env: Environment): Promise<SeenNetwork> {
  const batch = `${networkWords.join("\n")}\n`;
  return readNetwork(await run(netnsPath, ["ip", "-N", "-d", "-j", "-batch", "-"], env, batch), netnsPath);
}

async function lookAtRules(netnsPath: string, env: Environment): Promise<SeenRule[]> {
  const texts = await all(
    (["-4", "-6"] as const).map((family) => run(netnsPath, ["ip", family, "-N", "-d", "-j", "rule", "show"], env)),
  );
  return texts.flatMap((text) => readRules(text, netnsPath));
}

/** How many connections the kernel tracks in this namespace; not there where it tracks none anywhere. */
const trackedCount = "netfilter/nf_conntrack_count";

async function readSettings(node: AuditedNode, env: Environment): Promise<Map<string, string>> {
  const directory = "/proc/sys/net/";
  const paths = [...settingsOf(node), trackedCount].map((key) => directory + key);
  // A setting that is not there makes its exit code 2; the others are printed all the same.
  const { stdout } = await exec("nsenter", [`--net=${node.netnsPath}`, "grep", "-sH", "", ...paths], { env });
  const lines = stdout.trimEnd().split("\n");
  return new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(directory.length, colon), line.slice(colon + 1)];
    }),
  );
}

async function lookAtFlows(netnsPath: string, env: Environment): Promise<string[][]> {
  const text = await run(netnsPath, ["conntrack", "-L"], env);
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => [...line.matchAll(/ (?:src|dst)=(\S+)/g)].map(([, address = ""]) => address));
}

function run(netnsPath: string, command: readonly string[], env: Environment, input = ""): Promise<string> {
  return execOk("nsenter", [`--net=${netnsPath}`, ...command], { env, input });
}

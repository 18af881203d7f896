// Cgroups of a lab: one in each hierarchy of this machine, under a recorded name; removed with every process in it, whoever started that.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { Fault } from "../src/base/fault.ts";
import { fileErrorCode } from "./json.ts";
import { endProcesses, type ProcessId, processId } from "./process.ts";
import type { Lab, Thing } from "./record.ts";
import { until } from "./waiting.ts";

/** A killed process leaves its cgroup a moment after it is gone. */
const emptyWithinMs = 30_000;
/** Levels below a lab's cgroup: a kubelet and its runtime make five. */
const depthMax = 12;

/** A container may be started by one process just before that process is killed. */
const roundsMax = 5;

interface Hierarchy {
  /** Where it is mounted. */
  path: string;
  version: 1 | 2;
  /** It limits which processors are used: a new cgroup of version 1 has none until told. */
  cpuset: boolean;
}

/** The hierarchies of cgroups that are mounted here, each once (proc_pid_mountinfo(5)). */
function hierarchies(): Hierarchy[] {
  const found = new Map<string, Hierarchy>();
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const [, , device = "", , path = ""] = before.split(" ");
    const [type, , options = ""] = after.split(" ");
    if (type !== "cgroup" && type !== "cgroup2") continue;
    found.set(device, { path, version: type === "cgroup" ? 1 : 2, cpuset: options.split(",").includes("cpuset") });
  }
  return [...found.values()];
}

/**
 * Makes a cgroup of this name in every hierarchy, fit for a kubelet to make its own below it.
 * @throws Fault "lab-failed" where there is one of that name, or none can be made.
 */
export function makeCgroup(lab: Lab, name: string): void {
  const all = hierarchies();
  const [first] = all;
  if (first === undefined) throw new Fault("lab-failed", "no hierarchy of cgroups is mounted here; mount one");
  const taken = all.find(({ path }) => existsSync(`${path}/${name}`));
  if (taken !== undefined) {
    throw new Fault("lab-failed", `there is a cgroup ${taken.path}/${name} that lab ${lab.name} did not make`);
  }
  const id = lab.intend("cgroup", name);
  for (const hierarchy of all) makeIn(hierarchy, name);
  lab.made(id, String(statSync(`${first.path}/${name}`).ino));
}

function makeIn({ path, version, cpuset }: Hierarchy, name: string): void {
  try {
    mkdirSync(`${path}/${name}`);
    if (version === 1 && cpuset) {
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        writeFileSync(`${path}/${name}/${file}`, readFileSync(`${path}/${file}`, "utf8"));
      }
    }
    if (version === 2) delegate(path, name);
  } catch (cause) {
    throw new Fault("lab-failed", `cannot make the cgroup ${path}/${name}; are you root, outside of any container?`, {
      cause,
    });
  }
}

/** Version 2 gives a cgroup only the controllers that its parent hands down. */
function delegate(path: string, name: string): void {
  const words = readFileSync(`${path}/cgroup.controllers`, "utf8").trim();
  if (words === "") return;
  const all = words.split(" ").map((controller) => `+${controller}`);
  for (const folder of [path, `${path}/${name}`]) writeFileSync(`${folder}/cgroup.subtree_control`, all.join(" "));
}

/** Every cgroup at the top of a hierarchy whose name begins so. */
export function cgroupsNamed(prefix: string): string[] {
  return hierarchies().flatMap(({ path }) =>
    readdirSync(path)
      .filter((entry) => entry.startsWith(prefix))
      .map((entry) => `${path}/${entry}`),
  );
}

/** The processes in a cgroup of this name and below it, whoever started them. */
export function cgroupProcesses(name: string): ProcessId[] {
  return processesIn(hierarchies().flatMap(({ path }) => (existsSync(`${path}/${name}`) ? [`${path}/${name}`] : [])));
}

/**
 * Ends every process in a recorded cgroup and removes it, with all below it; one that is gone is no error.
 * Gives how many processes there were; undefined where a namesake stands there that is not ours: it is left alone.
 */
export async function removeCgroup({ name, identity }: Thing): Promise<number | undefined> {
  const folders = hierarchies().flatMap(({ path }) => (existsSync(`${path}/${name}`) ? [`${path}/${name}`] : []));
  const [first] = folders;
  if (first === undefined) return 0;
  if (identity !== undefined && !folders.some((folder) => String(statSync(folder).ino) === identity)) return undefined;
  let ended = 0;
  for (let round = 0; round < roundsMax; round += 1) {
    const inside = processesIn(folders);
    if (inside.length === 0) break;
    await endProcesses(inside, 0);
    ended += inside.length;
  }
  await until(async () => removeFolders(folders), { what: `removal of the cgroup ${name}`, withinMs: emptyWithinMs });
  return ended;
}

/** Every folder below, the deepest first, itself last. */
function walk(folder: string, depth = 0): string[] {
  if (depth > depthMax) throw new Fault("lab-failed", `${folder} lies deeper than ${depthMax} levels`);
  const below = unlessGone(() => readdirSync(folder, { withFileTypes: true }), []).filter((entry) =>
    entry.isDirectory(),
  );
  return [...below.flatMap((entry) => walk(`${folder}/${entry.name}`, depth + 1)), folder];
}

/** Cgroups of containers come and go while one looks; a file of one that has just gone is ENOENT, or ENODEV once it is open. */
function unlessGone<T>(read: () => T, gone: T): T {
  try {
    return read();
  } catch (error) {
    const code = fileErrorCode(error);
    if (code === "ENOENT" || code === "ENODEV") return gone;
    throw error;
  }
}

function processesIn(folders: readonly string[]): ProcessId[] {
  const pids = new Set<number>();
  for (const folder of folders.flatMap((top) => walk(top))) {
    const text = unlessGone(() => readFileSync(`${folder}/cgroup.procs`, "utf8"), "");
    for (const pid of text.split("\n")) if (pid !== "") pids.add(Number(pid));
  }
  return [...pids].flatMap((pid) => processId(pid) ?? []);
}

/** Gives what is still in the way; undefined when all are gone. */
function removeFolders(folders: readonly string[]): string | undefined {
  for (const folder of folders.filter((top) => existsSync(top)).flatMap((top) => walk(top))) {
    try {
      rmdirSync(folder);
    } catch (error) {
      const code = fileErrorCode(error);
      if (code !== "ENOENT") return `${folder}: ${code}`;
    }
  }
  return undefined;
}

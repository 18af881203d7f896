// Taking a lab down: by its record alone, so that it works after any crash of its maker, any number of times.

import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { cgroupsNamed, removeCgroup } from "./cgroups.ts";
import { removeNetns } from "./netns.ts";
import {
  endProcesses,
  isAlive,
  parseProcessId,
  processesInNetns,
  processesWithToken,
  processName,
  tokenVariable,
} from "./process.ts";
import {
  labDirectory,
  labEnvironment,
  labRoot,
  netnsPrefix,
  readRecord,
  type RecordContent,
  type Thing,
} from "./record.ts";

/** What a removal did. */
export interface Removal {
  /** False where there was no lab of that name. */
  found: boolean;
  processes: number;
  namespaces: number;
  /** What a person should know: a namesake left alone, a namespace that a foreign process still holds, a process that had to be killed. */
  notes: string[];
}

/** Agents get this long to stop in order; everything else ends at once. */
const agentGraceMs = 10_000;

/** A process may have started another just before it was ended. */
const roundsMax = 5;

/**
 * Removes everything that the lab `name` made and its directory; nothing else. Doing so twice is no error.
 * @throws Fault "lab-failed" where the maker is still at work, or something cannot be removed.
 */
export async function removeLab(name: string): Promise<Removal> {
  const removal: Removal = { found: existsSync(labDirectory(name)), processes: 0, namespaces: 0, notes: [] };
  const record = readRecord(name);
  if (record === undefined) {
    removeUnbegunLab(name);
    return removal;
  }
  if (record.owner.pid !== process.pid && isAlive(record.owner)) {
    throw new Fault("lab-failed", `lab ${name} is still in use by process ${record.owner.pid}; end that first`);
  }
  for (let round = 0; round < roundsMax; round += 1) {
    await removeThings(record, removal);
    // What the maker was about to become when it was killed has no token before it has become it.
    if (processesWithToken(record.token).length === 0) break;
  }
  removeDirectory(name);
  return removal;
}

async function removeThings(record: RecordContent, removal: Removal): Promise<void> {
  removal.processes += await endLabProcesses(record, removal.notes);
  const env = labEnvironment(record.token);
  for (const thing of record.things.filter(({ kind }) => kind === "cgroup")) {
    const ended = await removeCgroup(thing);
    if (ended === undefined) removal.notes.push(`cgroup ${thing.name} is not the one that this lab made: left alone`);
    else removal.processes += ended;
  }
  for (const thing of record.things.toReversed()) {
    if (thing.kind !== "netns") continue;
    removal.notes.push(...foreignHolders(thing));
    if (await removeNetns(thing, env)) removal.namespaces += 1;
    else removal.notes.push(`namespace ${thing.name} is not the one that this lab made: left alone`);
  }
}

/** What is still there of a lab that was taken down: namespaces and cgroups of its name, its directory, processes with its token. Empty when clean. */
export function leftovers(name: string, env: Readonly<Record<string, string>>): string[] {
  const namespaces = existsSync("/run/netns")
    ? readdirSync("/run/netns").filter((entry) => entry.startsWith(`${netnsPrefix}${name}-`))
    : [];
  return [
    ...namespaces.map((entry) => `namespace ${entry}`),
    ...cgroupsNamed(`${netnsPrefix}${name}-`).map((folder) => `cgroup ${folder}`),
    ...(existsSync(labDirectory(name)) ? [`directory ${labDirectory(name)}`] : []),
    ...processesWithToken(present(env[tokenVariable], "token")).map(
      ({ pid }) => `process ${pid} (${processName(pid)})`,
    ),
  ];
}

/** Ends the recorded processes, then any that carry the token but whose pid a crash kept out of the record. */
async function endLabProcesses({ things, token }: RecordContent, notes: string[]): Promise<number> {
  const recorded = things.flatMap(({ kind, identity }) => {
    const id = kind === "process" && identity !== undefined ? parseProcessId(identity) : undefined;
    return id !== undefined && isAlive(id) ? [id] : [];
  });
  const orderly = await endProcesses(recorded, agentGraceMs);
  if (!orderly) notes.push(`processes did not end within ${agentGraceMs / 1000} s and were killed`);
  let ended = recorded.length;
  for (let round = 0; round < roundsMax; round += 1) {
    const strays = processesWithToken(token);
    if (strays.length === 0) return ended;
    await endProcesses(strays, 0);
    ended += strays.length;
  }
  throw new Fault("lab-failed", `processes of the lab keep starting new ones: ${pids(token)}`);
}

function pids(token: string): string {
  return processesWithToken(token)
    .map(({ pid }) => `${pid} (${processName(pid)})`)
    .join(", ");
}

/** Processes that the lab did not start but that sit in one of its namespaces: they keep it alive without a name. */
function foreignHolders({ name, identity }: Thing): string[] {
  const inode = identity?.split(":")[1];
  if (inode === undefined) return [];
  return processesInNetns(inode).map(
    ({ pid }) => `namespace ${name} lives on until process ${pid} (${processName(pid)}) ends: the lab did not start it`,
  );
}

/** A maker that died before its first line made nothing but the directory and perhaps half a line. */
function removeUnbegunLab(name: string): void {
  const directory = labDirectory(name);
  if (!existsSync(directory)) return;
  const foreign = readdirSync(directory).filter((entry) => entry !== "record.jsonl");
  if (foreign.length > 0) {
    throw new Fault(
      "lab-failed",
      `${directory} has no record but holds ${foreign.join(", ")}; look, and remove it by hand`,
    );
  }
  removeDirectory(name);
}

/** The record goes last: a removal that is cut short can be done again. */
function removeDirectory(name: string): void {
  const directory = labDirectory(name);
  if (existsSync(directory)) {
    for (const entry of readdirSync(directory)) {
      if (entry !== "record.jsonl") rmSync(`${directory}/${entry}`, { recursive: true, force: true });
    }
  }
  rmSync(directory, { recursive: true, force: true });
  try {
    rmdirSync(labRoot);
  } catch {
    // Other labs are in it, or it is gone already.
  }
}

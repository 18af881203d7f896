// The warden of a lab: a process of its own that waits for the end of the lab's maker, and takes the lab down where the maker could not.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { text } from "node:stream/consumers";
import { removeLab } from "./down.ts";
import { isAlive, processesWithToken, tokenVariable } from "./process.ts";
import { type Lab, labDirectory, labEnvironment, readRecord, type RecordContent } from "./record.ts";
import { until } from "./waiting.ts";

/** What a maker says last that needs no warden any more; one that was killed says nothing. */
const farewell = "done";

/** A killed process closes its pipes a moment before it is gone. */
const ownerEndMs = 10_000;

export interface Warden {
  /** The lab is down, or is to stay. */
  dismiss(): void;
}

/** Starts a warden for a lab that this process makes. Where the warden itself is killed, `removeOrphan` does its work later. */
export function startWarden({ name, env }: Lab): Warden {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), name], {
    env: labEnvironment(wardenToken(env[tokenVariable] ?? "")),
    stdio: ["pipe", "ignore", "ignore"],
    detached: true, // a terminal's ^C is for the maker, which then takes the lab down in order
  });
  for (const emitter of [child, child.stdin]) emitter.on("error", () => {}); // without a warden the lab is none the worse
  child.unref();
  const { stdin } = child;
  if ("unref" in stdin && typeof stdin.unref === "function") stdin.unref();
  return { dismiss: () => void stdin.end(farewell) };
}

/**
 * Takes a lab down whose maker is dead and whose warden is not there to do it. Gives true where it did.
 * @throws Fault "lab-failed"
 */
export async function removeOrphan(name: string): Promise<boolean> {
  const record = readRecord(name);
  if (record === undefined || isAlive(record.owner) || hasWarden(record)) return false;
  return (await removeLab(name)).found;
}

/** Marks the process of a warden. It must not carry the lab's own token: it would be ended as part of the lab. */
export function wardenToken(token: string): string {
  return `${token}-warden`;
}

function hasWarden({ token }: RecordContent): boolean {
  return processesWithToken(wardenToken(token)).length > 0;
}

async function watchOver(name: string): Promise<void> {
  if ((await text(process.stdin)) === farewell) return;
  const record = readRecord(name);
  if (record === undefined) return;
  await until(async () => (isAlive(record.owner) ? `process ${record.owner.pid} lives` : undefined), {
    what: `end of the maker of ${labDirectory(name)}`,
    withinMs: ownerEndMs,
  });
  await removeLab(name);
}

if (import.meta.main) await watchOver(process.argv[2] ?? "");

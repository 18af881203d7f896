// Network namespaces of a lab: made under a recorded name, known again by their inode, removed only if they are still the same.

import { statfsSync, statSync } from "node:fs";
import { Fault } from "../src/base/fault.ts";
import { exec, execOk, failureText } from "./exec.ts";
import { fileErrorCode } from "./json.ts";
import type { Lab, Thing } from "./record.ts";

/** Where `ip netns` keeps named namespaces (ip-netns(8)). */
const netnsDirectory = "/run/netns";

/** The path by which a runtime names the namespace to a plugin. */
export function netnsPath(name: string): string {
  return `${netnsDirectory}/${name}`;
}

/** "device:inode" of what is mounted under the name; undefined where the name is free. */
export function netnsIdentity(name: string): string | undefined {
  const stat = statSync(netnsPath(name), { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/** NSFS_MAGIC (linux/magic.h). */
const namespaceFs = 0x6e736673;

/** Whether a namespace can be entered by that name: `ip netns add` first makes a file, and a moment later mounts the namespace there. */
export function isNetns(name: string): boolean {
  try {
    return statfsSync(netnsPath(name)).type === namespaceFs;
  } catch (error) {
    if (fileErrorCode(error) === "ENOENT") return false;
    throw error;
  }
}

/**
 * Makes an empty namespace: no link but a loopback that is down. Gives its number in the record.
 * @throws Fault "lab-failed" where the name is taken; the other's namespace stays untouched.
 */
export async function makeNetns(lab: Lab, name: string): Promise<number> {
  if (netnsIdentity(name) !== undefined) {
    throw new Fault("lab-failed", `there is a network namespace ${name} that lab ${lab.name} did not make`);
  }
  const id = lab.intend("netns", name);
  try {
    await execOk("ip", ["netns", "add", name], { env: lab.env });
  } catch (cause) {
    // Somebody took the name between the look and the call (`ip` creates exclusively): it is not ours to remove.
    if (String(cause).includes("File exists")) lab.gone(id);
    throw cause;
  }
  const identity = netnsIdentity(name);
  if (identity === undefined) throw new Fault("lab-failed", `namespace ${name} vanished as soon as it was made`);
  lab.made(id, identity);
  return id;
}

/**
 * Removes a namespace that the record names, if it is still the one that was made; one that is gone is no error.
 * Gives false where a namesake stands there that is not ours: it is left alone.
 */
export async function removeNetns({ name, identity }: Thing, env: Readonly<Record<string, string>>): Promise<boolean> {
  const found = netnsIdentity(name);
  if (found === undefined) return true;
  if (identity !== undefined && identity !== found) return false;
  const outcome = await exec("ip", ["netns", "delete", name], { env });
  if (outcome.code === 0 || netnsIdentity(name) === undefined) return true;
  throw new Fault("lab-failed", `cannot remove namespace ${name}: ${failureText(outcome)}`);
}

// The files in the agent's directories as they lie there, and what its release files ask for.

import { lstatSync, readdirSync, readFileSync, type Stats } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { fileErrorCode, readJson } from "../json.ts";
import { livingName } from "./living.ts";

/** The agent's paths, as its configuration names them. */
export interface AgentPaths {
  socket: string;
  state: string;
  cniConf: string;
  cniBin: string;
}

export interface SeenFile {
  path: string;
  kind: "file" | "directory" | "socket" | "other";
  mode: number;
  /** Of a release file that can be read: the attachment that it releases. */
  releases?: string;
}

const releaseSuffix = ".release";

/** Where the plugin writes down DELs that no agent took. */
export function releasesDirectoryOf({ socket }: AgentPaths): string {
  return join(dirname(socket), "releases");
}

/** The directories that hold nothing but what the agent and its plugin put there. */
export function agentDirectories(paths: AgentPaths): string[] {
  return [dirname(paths.socket), releasesDirectoryOf(paths), paths.state, paths.cniBin, paths.cniConf];
}

/** Those directories themselves and everything in them, one level deep. What is not there is left out. */
export function lookAtFiles(paths: AgentPaths): SeenFile[] {
  const directories = agentDirectories(paths);
  const inside = directories.flatMap((directory) => namesIn(directory).map((name) => join(directory, name)));
  return [...new Set([...directories, ...inside])].flatMap((path) => seenFile(path) ?? []);
}

function namesIn(directory: string): string[] {
  return unlessGone(() => readdirSync(directory)) ?? [];
}

function seenFile(path: string): SeenFile | undefined {
  const stats = unlessGone(() => lstatSync(path));
  if (stats === undefined) return undefined;
  const releases = path.endsWith(releaseSuffix) ? releasedBy(path) : undefined;
  return { path, kind: kindOf(stats), mode: stats.mode & 0o7777, ...(releases === undefined ? {} : { releases }) };
}

function kindOf(stats: Stats): SeenFile["kind"] {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  return stats.isSocket() ? "socket" : "other";
}

/** A file may go between two looks: the agent applies a release, or stops. */
function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (fileErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** The attachment that a release file names; undefined where it is damaged or gone. */
function releasedBy(path: string): string | undefined {
  try {
    const { env, stdin } = readFrame(readFileSync(path));
    const { name: network } = readJson(z.object({ name: z.string() }), stdin, path);
    return livingName({
      network,
      containerId: env.get("CNI_CONTAINERID") ?? "",
      ifname: env.get("CNI_IFNAME") ?? "",
    });
  } catch {
    return undefined;
  }
}

/**
 * A request frame as the plugin writes it: "FRLD", version u16, entries u16, body length u32; per entry the lengths of key
 * (u16) and value (u32), then both; the rest is what stood on stdin. @throws RangeError where it ends too early
 */
function readFrame(frame: Buffer): { env: Map<string, string>; stdin: string } {
  const env = new Map<string, string>();
  let at = 12;
  for (let entries = frame.readUInt16BE(6); entries > 0; entries -= 1) {
    const keyEnd = at + 6 + frame.readUInt16BE(at);
    const valueEnd = keyEnd + frame.readUInt32BE(at + 2);
    env.set(frame.toString("utf8", at + 6, keyEnd), frame.toString("utf8", keyEnd, valueEnd));
    at = valueEnd;
  }
  return { env, stdin: frame.toString("utf8", at) };
}

// A lab's record: everything that it makes, written down before it is made, so that `down` can remove exactly that after any crash.

import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, writeSync } from "node:fs";
import { z } from "zod";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { fileErrorCode, readJson } from "./json.ts";
import { formatProcessId, parseProcessId, type ProcessId, processId, tokenVariable } from "./process.ts";

/** Where labs keep their directories; only root may look inside. */
export const labRoot = "/run/fairlead-lab";

/** Every network namespace of a lab begins so, then the lab's name. */
export const netnsPrefix = "flab-";

/** Things one lab may make in its life. */
const thingsMax = 20_000;

const recordFile = "record.jsonl";

export type ThingKind = "netns" | "process" | "cgroup";

/** One thing of a lab, as the record tells it. Files need no entries: all of them lie in the lab's own directory. */
export interface Thing {
  id: number;
  kind: ThingKind;
  /** Namespaces: the name that `ip netns` knows. Processes: what the process is, "agent node-1". Cgroups: the name in every hierarchy. */
  name: string;
  /** What tells it from a namesake: an inode, or "pid:ticks". Absent: about to be made when the maker last wrote. */
  identity?: string;
}

export interface RecordContent {
  lab: string;
  token: string;
  /** The process that made the lab. */
  owner: ProcessId;
  /** What was made or was about to be, in that order, without what is known to be gone again. */
  things: Thing[];
}

/** A lab that this process makes. */
export interface Lab {
  readonly name: string;
  readonly directory: string;
  /** The whole environment of programs that the lab starts. */
  readonly env: Readonly<Record<string, string>>;
  /** Writes down that a thing is about to be made; gives its number. */
  intend(kind: ThingKind, name: string): number;
  /** Writes down that it is there, and what identifies it. */
  made(id: number, identity: string): void;
  /** Writes down that it is gone again, or was never made. */
  gone(id: number): void;
  /** What the record holds now. */
  things(): Thing[];
  /** Stops writing; the record stays. */
  close(): void;
}

export interface CreateLabOptions {
  name: string;
  /** Told the number of lines whenever one more is on disk: where tests crash the maker. */
  onLine?: (lines: number) => void;
}

/**
 * Makes the lab's directory and begins its record.
 * @throws Fault "lab-failed" where the name is unfit or a lab of that name is there already.
 */
export function createLab({ name, onLine }: CreateLabOptions): Lab {
  checkLabName(name);
  const directory = labDirectory(name);
  makeLabDirectory(name, directory);
  const fd = openSync(`${directory}/${recordFile}`, "ax", 0o600);
  const token = randomBytes(16).toString("hex");
  const things = new Map<number, Thing>();
  let lines = 0;
  let lastId = 0;
  const write = (line: Line): void => {
    writeSync(fd, `${JSON.stringify(line)}\n`); // one write: a killed maker leaves the whole line or none
    lines += 1;
    onLine?.(lines);
  };
  const owner = present(processId(process.pid), "this process in /proc");
  write({ note: "begin", lab: name, token, owner: formatProcessId(owner) });
  return {
    name,
    directory,
    env: labEnvironment(token),
    intend: (kind, thingName) => {
      lastId += 1;
      if (lastId > thingsMax) throw new Fault("lab-failed", `lab ${name} has made ${thingsMax} things; use a new one`);
      things.set(lastId, { id: lastId, kind, name: thingName });
      write({ note: "intend", id: lastId, kind, name: thingName });
      return lastId;
    },
    made: (id, identity) => {
      present(things.get(id), `thing ${id}`).identity = identity;
      write({ note: "made", id, identity });
    },
    gone: (id) => {
      things.delete(id);
      write({ note: "gone", id });
    },
    things: () => [...things.values()],
    close: () => closeSync(fd),
  };
}

/** The whole environment of what a lab starts: where system programs are, and the token that marks its processes. */
export function labEnvironment(token: string): Record<string, string> {
  return { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", [tokenVariable]: token };
}

/** The directory of the lab `name`. */
export function labDirectory(name: string): string {
  return `${labRoot}/${name}`;
}

/** Names of all labs that have a directory. */
export function listLabs(): string[] {
  try {
    return readdirSync(labRoot, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch (error) {
    if (fileErrorCode(error) === "ENOENT") return [];
    throw error;
  }
}

/** Reads the record of a lab; undefined where there is no lab, or none of whose record a line was written. */
export function readRecord(name: string): RecordContent | undefined {
  checkLabName(name);
  const path = `${labDirectory(name)}/${recordFile}`;
  try {
    return replayRecord(readFileSync(path, "utf8"), path);
  } catch (error) {
    if (fileErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

const id = z.int().positive();
const lineSchema = z.discriminatedUnion("note", [
  z.object({ note: z.literal("begin"), lab: z.string().min(1), token: z.string().min(1), owner: z.string() }),
  z.object({ note: z.literal("intend"), id, kind: z.enum(["netns", "process", "cgroup"]), name: z.string().min(1) }),
  z.object({ note: z.literal("made"), id, identity: z.string().min(1) }),
  z.object({ note: z.literal("gone"), id }),
]);
type Line = z.output<typeof lineSchema>;

/**
 * What a record's text says; undefined where not even its first line is whole.
 * An unfinished last line is left out: what it was to announce was not begun yet. `path` is only named in messages.
 * @throws Fault "lab-failed" where any other line is damaged: removing by such a record could hit foreign things.
 */
export function replayRecord(text: string, path: string): RecordContent | undefined {
  const [first, ...rest] = text.split("\n").slice(0, -1);
  if (first === undefined) return undefined;
  const begin = readJson(lineSchema, first, `${path}:1`);
  const owner = begin.note === "begin" ? parseProcessId(begin.owner) : undefined;
  if (begin.note !== "begin" || owner === undefined) throw damaged(path, 1);
  const things = new Map<number, Thing>();
  for (const [index, lineText] of rest.entries()) {
    const line = readJson(lineSchema, lineText, `${path}:${index + 2}`);
    if (line.note === "begin") throw damaged(path, index + 2);
    if (line.note === "intend") things.set(line.id, { id: line.id, kind: line.kind, name: line.name });
    if (line.note === "gone") things.delete(line.id);
    if (line.note !== "made") continue;
    const thing = things.get(line.id);
    if (thing === undefined) throw damaged(path, index + 2);
    thing.identity = line.identity;
  }
  return { lab: begin.lab, token: begin.token, owner, things: [...things.values()] };
}

function damaged(path: string, line: number): Fault {
  return new Fault("lab-failed", `${path}:${line} is damaged; remove by hand what it names, then its directory`);
}

function checkLabName(name: string): void {
  if (/^[a-z0-9]{1,20}$/.test(name)) return;
  throw new Fault("lab-failed", `${JSON.stringify(name)} is no lab name: 1 to 20 lower-case letters and digits are`);
}

/** Makes the directory, which must not be there: two makers of one name cannot both succeed. */
function makeLabDirectory(name: string, directory: string): void {
  const attemptsMax = 5; // a `down` elsewhere may remove the empty root between the two calls
  for (let attempt = 1; ; attempt += 1) {
    try {
      mkdirSync(labRoot, { recursive: true, mode: 0o700 });
      mkdirSync(directory, { mode: 0o700 });
      return;
    } catch (error) {
      const code = fileErrorCode(error);
      if (code === "ENOENT" && attempt < attemptsMax) continue;
      if (code !== "EEXIST") throw new Fault("lab-failed", `cannot make ${directory}; are you root?`, { cause: error });
      throw new Fault("lab-failed", `lab ${name} is there already; remove it with: fairlead lab down ${name}`);
    }
  }
}

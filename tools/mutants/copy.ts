// A copy of the tree with one change in it, and what is built of its C files.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./list.ts";
import { run } from "./run.ts";
import { changed } from "./stale.ts";

export type Change = Pick<Row, "file" | "text" | "becomes">;

export interface CopyOptions {
  /** Top of the project. */
  top: string;
  /** None for the tree as it is. */
  change?: Change | undefined;
  /** What is made from the copy's C files instead of being taken from the project: a path below build/. */
  fresh?: string | undefined;
}

export interface Copy {
  /** The copy's top. */
  top: string;
  /** For temporary files; goes with the copy. */
  temporary: string;
  remove(): void;
}

/** Where copies lie: below a directory that no tool of the project looks into. */
const directory = "build/mutants";

const buildMsMax = 120_000;
let made = 0;

/** Makes the copy; node_modules and what is built are links. */
export function makeCopy({ top, change, fresh }: CopyOptions): Copy {
  made += 1;
  const place = join(top, directory, `${process.pid}-${made}`);
  const copy = join(place, "tree");
  const temporary = join(place, "tmp");
  mkdirSync(temporary, { recursive: true });
  for (const name of readdirSync(top)) {
    if (name === "node_modules" || name === "build" || name === ".git") continue;
    cpSync(join(top, name), join(copy, name), { recursive: true });
  }
  symlinkSync(join(top, "node_modules"), join(copy, "node_modules"));
  mkdirSync(join(copy, "build"));
  for (const name of readdirSync(join(top, "build"))) {
    if (name !== "mutants" && name !== fresh?.split("/")[0])
      symlinkSync(join(top, "build", name), join(copy, "build", name));
  }
  if (change !== undefined) {
    const file = join(copy, change.file);
    writeFileSync(file, changed(readFileSync(file, "utf8"), change));
  }
  return { top: copy, temporary, remove: () => rmSync(place, { recursive: true, force: true }) };
}

/** Makes `fresh`. Undefined where that went well, else the compiler's words. */
export async function build({ top, temporary }: Copy, fresh: string, signal: AbortSignal): Promise<string | undefined> {
  const command = ["make", "-s", "-C", "native", `../build/${fresh}`];
  const { code, output } = await run({
    command,
    cwd: top,
    temporary,
    ownMachine: false,
    timeoutMs: buildMsMax,
    signal,
  });
  return code === 0 ? undefined : output.trim();
}

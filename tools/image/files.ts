// Which files of this project go into the image: what src/main.ts reaches by its imports, and the modules that those name.

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { importsOf, readSource } from "../tidy/source.ts";

const top = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What is no source and no module. */
const others = ["LICENSE", "package.json", "bin/fairlead", "build/fairlead.node", "build/fairlead-cni"];

/** Files of a module that Node can be asked for, and the terms under which it comes. */
const ofUse = /\.(?:[cm]?js|json|node|wasm)$|(?:^|\/)(?:licen[cs]e|copying|notice)[^/]*$/i;
/** Parts of modules that are for their makers, for browsers, or for commands. */
const ofNoUse = /(?:^|\/)(?:tests?|docs|examples?|benchmarks?|browser|scripts|\.github)\//;

interface LockedPackage {
  dev?: boolean;
  optional?: boolean;
}

/** Every source that the program `entry` can come to, itself too; the lab is for machines with the whole project on them. */
export function reachable(entry: string): string[] {
  const found = new Set([entry]);
  // A set is walked in the order of adding, what is added on the way too.
  for (const path of found) {
    for (const { specifier, typeOnly } of importsOf(readSource(path, readFileSync(join(top, path), "utf8")))) {
      if (typeOnly || !specifier.startsWith(".")) continue;
      const target = posix.join(posix.dirname(path), specifier);
      if (target.startsWith("src/")) found.add(target);
    }
  }
  return [...found].sort();
}

/** The folders of the modules that are needed to run; Node itself has a layer of its own. */
export function modules(): string[] {
  const lock: { packages: Record<string, LockedPackage> } = JSON.parse(
    readFileSync(join(top, "package-lock.json"), "utf8"),
  );
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional }]) => path !== "" && dev !== true && optional !== true)
    .map(([path]) => path);
}

/** All files of the image's upper layer but compiled code, from the project's top, in order. */
export function imageFiles(): string[] {
  const ofModules = modules().flatMap((folder) =>
    readdirSync(join(top, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => posix.join(parentPath, name).slice(top.length + 1))
      .filter((path) => {
        const within = path.slice(folder.length + 1);
        return ofUse.test(within) && !ofNoUse.test(within) && !within.startsWith("node_modules/");
      }),
  );
  return [...others, ...reachable("src/main.ts"), ...ofModules].sort();
}

if (import.meta.main) process.stdout.write(`${imageFiles().join("\n")}\n`);

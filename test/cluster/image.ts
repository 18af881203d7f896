// A container image from files of this computer, as one archive that a runtime imports without any registry.

import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { execOk } from "../../lab/exec.ts";
import { writeArchive } from "../../tools/image/archive.ts";

/** A file of this computer, a text, a symbolic link, or a folder with a mode. */
export type Entry = { from: string } | { text: string } | { link: string } | { folder: number };

export interface Image {
  /** The name by which pods ask for it, with its tag. */
  name: string;
  /** By the path in the image, without the first slash. */
  entries: Readonly<Record<string, Entry>>;
  entrypoint: readonly string[];
  command?: readonly string[];
}

/** The only variable that programs in these images need. */
const imageEnvironment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];

const tarWithinMs = 120_000;

/** Writes the image to `file`, a tar, unless it was made from the same entries before. `env` is that of the programs it runs. */
export async function writeImage(image: Image, file: string, env: Readonly<Record<string, string>>): Promise<void> {
  const keyFile = `${file}.key`;
  const key = keyOf(image);
  if (readIfThere(keyFile) === key && readIfThere(file, 1) !== undefined) return;
  const folder = `${file}.new-${process.pid}`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(`${folder}/root`, { recursive: true });
  try {
    fill(`${folder}/root`, image.entries);
    await tar(`${folder}/layer.tar`, `${folder}/root`, env);
    writeArchive({
      name: image.name,
      layers: [{ tar: `${folder}/layer.tar`, what: "files of the computer that tests" }],
      runs: { Entrypoint: image.entrypoint, Cmd: image.command ?? [], Env: imageEnvironment },
      createdS: 0,
      madeBy: "test/cluster/image.ts",
      into: `${folder}/layout`,
    });
    await tar(`${folder}/image.tar`, `${folder}/layout`, env);
    renameSync(`${folder}/image.tar`, file);
    writeFileSync(keyFile, key);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The same entries, and files that did not change meanwhile, give the same key. */
function keyOf(image: Image): string {
  const sources = Object.values(image.entries).flatMap((entry) => {
    if (!("from" in entry)) return [];
    const { size, mtimeMs } = statSync(entry.from);
    return [[entry.from, size, mtimeMs]];
  });
  return createHash("sha256")
    .update(JSON.stringify([image, sources, imageEnvironment]))
    .digest("hex");
}

function readIfThere(file: string, sizeMin = 0): string | undefined {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined || stat.size < sizeMin) return undefined;
  return sizeMin > 0 ? file : readFileSync(file, "utf8");
}

function fill(root: string, entries: Image["entries"]): void {
  for (const [path, entry] of Object.entries(entries)) {
    const target = `${root}/${path}`;
    mkdirSync(dirname(target), { recursive: true });
    if ("from" in entry) copyFileSync(entry.from, target);
    if ("text" in entry) writeFileSync(target, entry.text, { mode: 0o644 });
    if ("link" in entry) symlinkSync(entry.link, target);
    if ("folder" in entry) {
      mkdirSync(target, { recursive: true });
      chmodSync(target, entry.folder); // mkdir's mode is cut by the umask
    }
  }
}

/** The same files give the same bytes: owner, order and times are fixed. */
async function tar(file: string, folder: string, env: Readonly<Record<string, string>>): Promise<void> {
  const fixed = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"];
  await execOk("tar", ["--create", `--file=${file}`, ...fixed, `--directory=${folder}`, "."], {
    env,
    timeoutMs: tarWithinMs,
  });
}

// Putting the plugin where the runtime looks for it: shim and conflist, each by rename, the conflist last.

import { randomBytes } from "node:crypto";
import { chmod, copyFile, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Fault } from "../base/fault.ts";
import { conflistFile, conflistText, pluginType } from "../cni/conflist.ts";

export interface InstallPaths {
  /** The built shim. */
  shim: string;
  cniBin: string;
  cniConf: string;
}

/**
 * Installs the shim, then the conflist: from that moment the runtime sends pods. What is there already and equal stays.
 * @throws Fault "io-failure" that names the path.
 */
export async function install({ shim, cniBin, cniConf }: InstallPaths): Promise<void> {
  await placed(
    join(cniBin, pluginType),
    (temporary) => copyFile(shim, temporary),
    await readFile(shim).catch(missing(shim)),
    0o755,
  );
  await placeText(join(cniConf, conflistFile), conflistText());
}

/** Makes `file` hold `text`, readable by all unless `mode` says otherwise; nobody ever sees half of it. @throws Fault "io-failure" that names the path. */
export function placeText(file: string, text: string, mode = 0o644): Promise<void> {
  const content = Buffer.from(text);
  return placed(file, (temporary) => write(temporary, content), content, mode);
}

/** Files that were to become `file` and that whoever made them left behind, being killed meanwhile; none where its directory cannot be read. */
export async function unfinishedOf(file: string): Promise<string[]> {
  const names = await readdir(dirname(file)).catch(() => []);
  const begins = `.${basename(file)}.`;
  return names
    .filter((name) => name.startsWith(begins) && /^[0-9a-f]{12}$/.test(name.slice(begins.length)))
    .map((name) => join(dirname(file), name));
}

/** Removes those files. Only for who alone writes `file`. */
export async function dropUnfinished(file: string): Promise<void> {
  for (const left of await unfinishedOf(file)) await rm(left, { force: true });
}

/** Makes `file` hold `content` by renaming a complete temporary file over it: a reader sees the old or the new, never half of one. */
async function placed(
  file: string,
  make: (temporary: string) => Promise<unknown>,
  content: Buffer,
  mode: number,
): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString("hex")}`);
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    await dropUnfinished(file);
    const held = await readFile(file).catch(() => undefined);
    if (held?.equals(content)) return await chmod(file, mode);
    await make(temporary);
    await chmod(temporary, mode);
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined); // what kept it from being made may keep it from being looked for
    throw new Fault("io-failure", `cannot install ${file}; check that its directory exists and can be written`, {
      cause,
    });
  }
}

async function write(file: string, content: Buffer): Promise<void> {
  const handle = await open(file, "wx", 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function missing(file: string): (cause: unknown) => never {
  return (cause) => {
    throw new Fault("machine-unfit", `the plugin ${file} is not there; run \`make setup\``, { cause });
  };
}

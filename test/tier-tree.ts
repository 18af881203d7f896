// A small project of its own with our tools/test.sh in it: for the tests of that script.

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

export interface TierOutcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs one tier of a project that holds `files` (path -> text) and gives what the script said. At most 60 s. */
export function runTier(
  t: Pick<TestContext, "after">,
  files: Readonly<Record<string, string>>,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): TierOutcome {
  const top = mkdtempSync(join(tmpdir(), "fairlead tiers ")); // a path with spaces
  t.after(() => rmSync(top, { recursive: true }));
  mkdirSync(join(top, "tools"));
  copyFileSync(fileURLToPath(new URL("../tools/test.sh", import.meta.url)), join(top, "tools/test.sh"));
  symlinkSync(fileURLToPath(new URL("../node_modules", import.meta.url)), join(top, "node_modules"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(top, path)), { recursive: true });
    writeFileSync(join(top, path), text);
  }
  const { status, stdout, stderr } = spawnSync("bash", [join(top, "tools/test.sh"), ...args], {
    cwd: "/",
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...env },
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status, stdout, stderr };
}

/** The script's last line: the count over all tiers. */
export const closingLine = (stdout: string): string | undefined => stdout.trimEnd().split("\n").at(-1);

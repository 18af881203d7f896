// The programs that we did not write: where they lie, built when first asked for, and why a test is skipped where they cannot be.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Holds cnitool, the reference plugins and cni-runtime, each under its name. */
export const referencePath = fileURLToPath(new URL("../../build/reference", import.meta.url));

const script = fileURLToPath(new URL("build.sh", import.meta.url));
/** A first build compiles and may fetch; one that finds everything in place takes 0.2 s. */
const buildWithinMs = 300_000;
/** What the script ends with where this machine cannot have the programs. */
const cannotBeHad = 3;

function reasonToSkip(): string | false {
  const { status, stderr, error } = spawnSync(script, { encoding: "utf8", timeout: buildWithinMs });
  if (status === 0) return false;
  if (status === cannotBeHad) return stderr.trim();
  throw new Error(`${script} ended with ${status}: ${stderr}`, { cause: error });
}

/** Options of a test that runs these programs. */
export const needsReference: { skip: string | false } = { skip: reasonToSkip() };

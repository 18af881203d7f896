// The real Kubernetes and what it runs on: where the programs lie, built when first asked for, and why a test is skipped without.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Holds kube-apiserver, kubelet, containerd and the rest, each under its name. */
export const upstreamPath = fileURLToPath(new URL("../../build/upstream", import.meta.url));

const script = fileURLToPath(new URL("../upstream/build.sh", import.meta.url));
/** A first build compiles for minutes; one that finds everything in place takes a tenth of a second. */
const buildWithinMs = 1_800_000;
/** What the script ends with where this machine cannot have the programs. */
const cannotBeHad = 3;

/** The folders of test/upstream. */
export type Part = "kubernetes" | "containerd" | "runc" | "coredns";

/** Builds what is not built yet of some folders, or of all; gives why this machine cannot have it, or undefined. */
export function buildUpstream(...parts: Part[]): string | undefined {
  const { status, stderr, error } = spawnSync(script, parts, { encoding: "utf8", timeout: buildWithinMs });
  if (status === 0) return undefined;
  if (status === cannotBeHad) return stderr.trim();
  throw new Error(`${script} ended with ${status}: ${stderr}`, { cause: error });
}

/** Options of a test that needs these programs. */
export function needsUpstream(...parts: Part[]): { skip: string | false } {
  return { skip: buildUpstream(...parts) ?? false };
}

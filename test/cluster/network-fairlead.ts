// Fairlead as the network of a test cluster: its image on every node and its manifests, exactly as a user installs it.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Fault } from "../../src/base/fault.ts";
import type { ControlPlane } from "./control-plane.ts";
import { type ClusterPlan, podRanges } from "./plan.ts";

/** What a user applies. */
export const manifest = fileURLToPath(new URL("../../deploy/fairlead.yaml", import.meta.url));
/** What a user would find in a registry. */
export const imageFile = fileURLToPath(new URL("../../build/fairlead-image.tar", import.meta.url));

/** Why Fairlead cannot be installed in a cluster on this machine; undefined where it can. */
export function reasonAgainstFairlead(): string | undefined {
  if (!existsSync(manifest)) return "deploy/fairlead.yaml is not there";
  if (!existsSync(imageFile)) return "build/fairlead-image.tar is not there; run make image";
  return undefined;
}

export interface FairleadOptions {
  /** False: Kubernetes gives nodes no blocks, so Fairlead's controller has to, and its configuration is changed to say so. */
  allocateNodeCidrs: boolean;
  plan: ClusterPlan;
}

/** Applies the manifests; the nodes have the image already. Does not wait for the agents. @throws Fault "lab-failed" */
export async function installFairlead(
  plane: ControlPlane,
  { allocateNodeCidrs, plan }: FairleadOptions,
): Promise<void> {
  const reason = reasonAgainstFairlead();
  if (reason !== undefined) throw new Fault("lab-failed", `Fairlead cannot be installed: ${reason}`);
  await plane.kubectl(["apply", "--filename=-"], { input: manifestText({ allocateNodeCidrs, plan }) });
}

/** What `installFairlead` applies. */
export function manifestText({ allocateNodeCidrs, plan }: FairleadOptions): string {
  const text = readFileSync(manifest, "utf8");
  return allocateNodeCidrs ? text : assigning(text, plan);
}

/** The manifests with the change that docs/install.md tells of: the controller gives the blocks. */
function assigning(text: string, { families, blockPrefixes }: ClusterPlan): string {
  const [before, after] = ["    assign: cluster\n", "    assign: fairlead\n    ranges:\n"];
  if (!text.includes(before)) throw new Fault("lab-failed", `${manifest} has no line "${before.trim()}" to be changed`);
  const ranges = families.map(
    (family) => `      - { cidr: "${podRanges[family]}", blockPrefix: ${blockPrefixes[family]} }\n`,
  );
  return text.replace(before, `${after}${ranges.join("")}`);
}

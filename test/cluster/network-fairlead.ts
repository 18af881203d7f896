// Fairlead as the network of a test cluster: its image on every node and its manifests, exactly as a user installs it.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Fault } from "../../src/base/fault.ts";
import type { ControlPlane } from "./control-plane.ts";

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

/** Applies the manifests; the nodes have the image already. Does not wait for the agents. @throws Fault "lab-failed" */
export async function installFairlead(plane: ControlPlane): Promise<void> {
  const reason = reasonAgainstFairlead();
  if (reason !== undefined) throw new Fault("lab-failed", `Fairlead cannot be installed: ${reason}`);
  await plane.kubectl(["apply", `--filename=${manifest}`]);
}

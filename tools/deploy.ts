// Makes deploy/fairlead.yaml, the whole installation in one file, from its parts; run it after a change of one.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const deploy = new URL("../deploy/", import.meta.url);

export const installFile = fileURLToPath(new URL("fairlead.yaml", deploy));

/** In the order in which a cluster can take them: names before what refers to them, permissions before who needs them. */
export const parts = [
  "parts/namespace.yaml",
  "crds.yaml",
  "parts/access.yaml",
  "parts/policy.yaml",
  "parts/config.yaml",
  "parts/agent.yaml",
  "parts/controller.yaml",
] as const;

const head = `# The whole installation of Fairlead: kubectl apply -f deploy/fairlead.yaml. What to change is the ConfigMap; see docs/install.md.
# Made by tools/deploy.ts from deploy/parts and deploy/crds.yaml.
`;

/** The text of deploy/fairlead.yaml. */
export function installText(): string {
  return `${head}---\n${parts.map((part) => readFileSync(new URL(part, deploy), "utf8")).join("---\n")}`;
}

if (import.meta.main) writeFileSync(installFile, installText());

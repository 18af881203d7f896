// Makes deploy/fairlead.yaml, the whole installation in one file, and deploy/uninstall.yaml from their parts; run it after a change of one.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { z } from "zod";

const deploy = new URL("../deploy/", import.meta.url);

export const installFile = fileURLToPath(new URL("fairlead.yaml", deploy));

/** In the order in which a cluster can take them: names before what refers to them, permissions before who needs them. */
export const parts = [
  "parts/namespace.yaml",
  "crds.yaml",
  "parts/access.yaml",
  "parts/policy.yaml",
  "parts/switches.yaml",
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

export const uninstallFile = fileURLToPath(new URL("uninstall.yaml", deploy));

/** As much of the agents' DaemonSet as the other one differs in. */
const daemonSet = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({}),
  spec: z.looseObject({
    selector: z.looseObject({}),
    updateStrategy: z.looseObject({}),
    template: z.looseObject({
      metadata: z.looseObject({}),
      spec: z.looseObject({
        containers: z.tuple([z.looseObject({ name: z.string(), image: z.string() })]),
        volumes: z.array(z.looseObject({})),
      }),
    }),
  }),
});

/**
 * The text of deploy/uninstall.yaml: the agents' own DaemonSet, with what undoes an agent in place of the agent. So a node is
 * undone after its agent has ended, with the same rights and mounts, and one that has pods yet holds the others up.
 */
export function uninstallText(): string {
  const agents = daemonSet.parse(parse(readFileSync(new URL("parts/agent.yaml", deploy), "utf8")));
  const { template } = agents.spec;
  const { containers, volumes, ...pod } = template.spec;
  const [agent] = containers;
  const { ports: _, livenessProbe: __, readinessProbe: ___, ...same } = agent;
  const undoing = {
    ...same,
    name: "uninstall",
    args: ["uninstall", "--config", "/etc/fairlead/agent.yaml", "--node-name", "$(NODE_NAME)"],
  };
  // Nothing to do any more, and nothing to do it with: it waits for an input that never comes.
  const done = {
    name: "done",
    image: agent.image,
    imagePullPolicy: "IfNotPresent",
    command: ["cat"],
    stdin: true,
    resources: { requests: { cpu: "1m", memory: "8Mi" } },
    securityContext: {
      runAsUser: 65532,
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
  const made = {
    ...agents,
    spec: {
      ...agents.spec,
      template: {
        metadata: { ...template.metadata, annotations: { "kubectl.kubernetes.io/default-container": "uninstall" } },
        spec: {
          ...pod,
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 1,
          initContainers: [undoing],
          containers: [done],
          volumes,
        },
      },
    },
  };
  return `# Takes Fairlead off the nodes: the agents' DaemonSet, with what undoes an agent in place of the agent; see docs/install.md.
# Made by tools/deploy.ts from deploy/parts/agent.yaml.
${stringify(made, { lineWidth: 0, aliasDuplicateObjects: false })}`;
}

if (import.meta.main) {
  writeFileSync(installFile, installText());
  writeFileSync(uninstallFile, uninstallText());
}

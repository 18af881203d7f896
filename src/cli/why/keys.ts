// The agents' keys of policy, which an answer depends on: from their configuration in the cluster, or from a file of theirs.

import { z } from "zod";
import { parseConfig } from "../../base/config.ts";
import { describe, isFault } from "../../base/fault.ts";
import { configMaps } from "../../kube/core-objects.ts";
import { defaultKeys, type PolicyKeys, policyKeys } from "../../policy/keys.ts";
import type { OpenCluster } from "../cluster/open.ts";
import { readText } from "./read-text.ts";

/** As deploy/fairlead.yaml names the agents' configuration. */
const where = { namespace: "fairlead-system", name: "fairlead-config" };
const fileOfAgents = "agent.yaml";

/** Of the rest of the file nothing is looked at: the agent itself does that. */
const configuration = z.looseObject({ policy: policyKeys.prefault({}) });

/** Reads them from an agent's configuration. @throws Fault "not-found" where there is none, "bad-config" that names what is wrong */
export function keysInFile(file: string): PolicyKeys {
  const text = readText(
    file,
    `the agents' configuration ${file}`,
    "name their agent.yaml, or leave --agent-config away",
  );
  return parseConfig(configuration, text, file).policy;
}

/** Reads them where the cluster has them; where it has none, or does not tell, what holds without any, and a note that says so. */
export async function keysOfCluster({ kube }: OpenCluster): Promise<{ keys: PolicyKeys; notes: string[] }> {
  const title = `ConfigMap ${where.namespace}/${where.name}`;
  try {
    const { data = {} } = await kube.get(configMaps, where);
    const text = data[fileOfAgents];
    if (text !== undefined)
      return { keys: parseConfig(configuration, text, `${fileOfAgents} of ${title}`).policy, notes: [] };
    return { keys: defaultKeys, notes: [assumed(`${title} has no ${fileOfAgents}`)] };
  } catch (error) {
    if (!isFault(error, "kube-not-found", "kube-refused")) throw error;
    return { keys: defaultKeys, notes: [assumed(`${title} cannot be read (${describe(error)})`)] };
  }
}

const assumed = (reason: string): string =>
  `${reason}: the agents' keys of policy are taken to be as they are by default; --agent-config names their file`;

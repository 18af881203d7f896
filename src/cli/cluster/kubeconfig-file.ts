// Which kubeconfig file and which of its contexts a person means: by flag, by KUBECONFIG, or the usual place.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { parseConfig } from "../../base/config.ts";
import { Fault } from "../../base/fault.ts";
import { clip, quote } from "../../cni/quote.ts";

/** What the person wrote. */
export interface ClusterFlags {
  kubeconfig?: string;
  context?: string;
}

/** The two variables that matter, as the environment has them. */
export interface Surroundings {
  KUBECONFIG: string | undefined;
  HOME: string | undefined;
}

export interface ChosenContext {
  file: string;
  context: string;
}

/** Files in KUBECONFIG. */
const filesMax = 32;
/** Names listed in one message. */
const namesShownMax = 10;

const contextsSchema = z.looseObject({
  "current-context": z.string().default(""),
  contexts: z.array(z.looseObject({ name: z.string() })).default([]),
});

/** The files that are looked into, in order; none where there is no kubeconfig. A file that a flag names need not exist here. */
export function kubeconfigFiles({ kubeconfig }: ClusterFlags, { KUBECONFIG = "", HOME = "" }: Surroundings): string[] {
  if (kubeconfig !== undefined) return [kubeconfig];
  // kubectl also passes over files of this list that are not there.
  const named = KUBECONFIG.split(":").filter((file) => file !== "");
  const files = named.length > 0 ? named.slice(0, filesMax) : HOME === "" ? [] : [join(HOME, ".kube", "config")];
  return files.filter((file) => existsSync(file));
}

/**
 * Chooses the context: the flag's, else the first `current-context` that one of the files has; and the file in which it stands.
 * @throws Fault "not-found" where there is no file, "bad-config" where a file cannot be read or none has the context
 */
export function chooseContext(flags: ClusterFlags, surroundings: Surroundings): ChosenContext {
  const files = kubeconfigFiles(flags, surroundings);
  if (files.length === 0) throw noKubeconfig(surroundings);
  const read = files.map((file) => ({ file, ...parseConfig(contextsSchema, readText(file), file) }));
  const context = flags.context ?? read.map((one) => one["current-context"]).find((name) => name !== "");
  const names = read.flatMap(({ contexts }) => contexts.map(({ name }) => name));
  const known = names.length === 0 ? "it has none" : `it has ${namesShown(names)}`;
  const where = files.join(", ");
  if (context === undefined) {
    throw new Fault("bad-config", `${where} has no current-context; name one by --context (${known})`);
  }
  const home = read.find(({ contexts }) => contexts.some(({ name }) => name === context));
  if (home === undefined) throw new Fault("bad-config", `${where} has no context ${quote(context)}; ${known}`);
  return { file: home.file, context };
}

function namesShown(names: readonly string[]): string {
  const shown = names.slice(0, namesShownMax).map((name) => clip(name, 100));
  return `${shown.join(", ")}${names.length > namesShownMax ? `, and ${names.length - namesShownMax} more` : ""}`;
}

function noKubeconfig({ KUBECONFIG = "", HOME = "" }: Surroundings): Fault {
  const looked =
    KUBECONFIG === ""
      ? `${HOME === "" ? "~" : HOME}/.kube/config is not there`
      : `KUBECONFIG names ${KUBECONFIG}, and nothing is there`;
  return new Fault("not-found", `no cluster is known here: ${looked}; name a file by --kubeconfig or KUBECONFIG`);
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new Fault("bad-config", `${file} cannot be read`, { cause });
  }
}

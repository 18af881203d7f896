// The official client library, loaded where a tool of ours needs what only it can: programs that give credentials, and exec into pods.

import type { RequestOptions } from "node:https";
import type { Exec, KubeConfig } from "@kubernetes/client-node";
import { Fault } from "../../base/fault.ts";
import { within } from "../../base/pause.ts";
import type { ChosenContext } from "./kubeconfig-file.ts";

/** How long a program that gives credentials may take: it may send the person to a browser. */
const programWaitMs = 180_000;

interface ClientLibrary {
  KubeConfig: new () => KubeConfig;
  Exec: new (config: KubeConfig) => Exec;
}

/** The library, and what it has fetched for one context. */
export interface Access {
  library: ClientLibrary;
  config: KubeConfig;
  credentials: RequestOptions;
}

/**
 * Loads the library, and has it fetch the credentials of a context, once. `what` needs it, and `cure` stands beside installing it.
 * @throws Fault "not-found" where it is not installed, "kube-unauthorized" where no credentials come
 */
export async function openAccess({ file, context }: ChosenContext, what: string, cure: string): Promise<Access> {
  const library = await loadLibrary(what, cure);
  const config = new library.KubeConfig();
  const credentials: RequestOptions = {};
  try {
    config.loadFromFile(file);
    // The library takes a server without TLS, as kubectl proxy is one, only where nothing is to be verified.
    const clusters = config.clusters.map((one) => (isPlain(one) ? { ...one, skipTLSVerify: true } : one));
    const { users, contexts } = config;
    config.loadFromOptions({ clusters, users, contexts, currentContext: context });
    const inTime = await within(programWaitMs, config.applyToHTTPSOptions(credentials));
    if (!inTime) throw new Error(`nothing came within ${programWaitMs / 1000} s`);
  } catch (cause) {
    throw new Fault("kube-unauthorized", `the credentials of context ${context} in ${file} could not be fetched`, {
      cause,
    });
  }
  return { library, config, credentials };
}

/** Whether a cluster is reached without TLS: nothing of it can be verified. */
export const isPlain = ({ server }: { server: string }): boolean => server.startsWith("http:");

async function loadLibrary(what: string, cure: string): Promise<ClientLibrary> {
  try {
    return await import("@kubernetes/client-node");
  } catch (cause) {
    throw new Fault(
      "not-found",
      `${what}, which needs the package @kubernetes/client-node: run make setup, or ${cure}`,
      { cause },
    );
  }
}

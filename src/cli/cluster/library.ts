// The official client library, loaded where a tool of ours needs what only it can: programs that give credentials, and exec into pods.

import type { Exec, KubeConfig } from "@kubernetes/client-node";
import { Fault } from "../../base/fault.ts";

export interface ClientLibrary {
  KubeConfig: new () => KubeConfig;
  Exec: new (config: KubeConfig) => Exec;
}

/** Loads it. `what` needs it, and `cure` stands beside installing it. @throws Fault "not-found" where it is not installed */
export async function loadLibrary(what: string, cure: string): Promise<ClientLibrary> {
  try {
    return await import("@kubernetes/client-node");
  } catch (cause) {
    throw new Fault(
      "not-found",
      `${what}, which needs the package @kubernetes/client-node: run make setup, or ${cure}`,
      {
        cause,
      },
    );
  }
}

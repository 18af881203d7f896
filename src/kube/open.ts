// A program's client of its cluster, from the keys of its configuration file.

import { environment } from "../base/config.ts";
import type { Log } from "../base/log.ts";
import { inCluster, type KubeAddress } from "./address.ts";
import type { KubernetesKeys } from "./config.ts";
import { connect } from "./connect.ts";
import type { Kube } from "./contract.ts";
import { fromKubeconfig } from "./kubeconfig.ts";

/** Who calls, for the server's audit and the client's log. */
export interface Caller {
  userAgent: string;
  log: Log;
}

/** Opens the client; nothing is asked yet. @throws Fault "bad-config" where no server is known or the kubeconfig cannot be followed */
export function openKube(keys: KubernetesKeys, { userAgent, log }: Caller): Kube {
  return connect({ address: addressOf(keys), userAgent, log });
}

function addressOf({ server, kubeconfig }: KubernetesKeys): KubeAddress {
  const given = server === undefined ? {} : { server };
  if (kubeconfig !== undefined) return fromKubeconfig({ file: kubeconfig, ...given });
  return inCluster({
    ...given,
    serviceHost: environment("KUBERNETES_SERVICE_HOST"),
    servicePort: environment("KUBERNETES_SERVICE_PORT"),
  });
}

// Fairlead in a real cluster, installed as a user does, with kube-proxy's nftables mode: every test.

import { agentTests } from "./agents.ts";
import { identityTests } from "./identities.ts";
import { allParts, policyParts } from "./parts.ts";
import { onCluster } from "./suite.ts";
import { uninstallTests } from "./uninstall.ts";

onCluster("Fairlead, nftables", { network: "fairlead", proxyMode: "nftables" }, [
  ...allParts,
  ...policyParts,
  identityTests,
  agentTests,
  uninstallTests,
]);

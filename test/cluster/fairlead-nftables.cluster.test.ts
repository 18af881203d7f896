// Fairlead in a real cluster, installed as a user does, with kube-proxy's nftables mode: every test.

import { agentTests } from "./agents.ts";
import { allParts } from "./parts.ts";
import { onCluster } from "./suite.ts";

onCluster("Fairlead, nftables", { network: "fairlead", proxyMode: "nftables" }, [...allParts, agentTests]);

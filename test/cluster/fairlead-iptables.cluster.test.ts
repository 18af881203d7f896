// Fairlead in a real cluster with kube-proxy's iptables mode: the tests of services.

import { policyProxyParts, proxyParts } from "./parts.ts";
import { onCluster } from "./suite.ts";

onCluster("Fairlead, iptables", { network: "fairlead", proxyMode: "iptables" }, [...proxyParts, ...policyProxyParts]);

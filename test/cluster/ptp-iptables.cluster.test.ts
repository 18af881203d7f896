// The reference plugins in a real cluster with kube-proxy's iptables mode: the tests of services.

import { proxyParts } from "./parts.ts";
import { onCluster } from "./suite.ts";

onCluster("ptp, iptables", { network: "ptp", proxyMode: "iptables" }, proxyParts);

// The reference plugins in a real cluster with kube-proxy's nftables mode: what every network has to do, and that these tests can be passed.

import { allParts } from "./parts.ts";
import { onCluster } from "./suite.ts";

onCluster("ptp, nftables", { network: "ptp", proxyMode: "nftables" }, allParts);

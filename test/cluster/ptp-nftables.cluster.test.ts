// The reference plugins in a real cluster with kube-proxy's nftables mode: what every network has to do, and the proof that these tests ask for it.

import { meshTests } from "./mesh.ts";
import { onCluster } from "./suite.ts";

onCluster("ptp, nftables", { network: "ptp", proxyMode: "nftables" }, [meshTests]);

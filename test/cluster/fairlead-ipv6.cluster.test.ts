// Fairlead in a real cluster that knows no IPv4: the network model and services.

import { meshTests } from "./mesh.ts";
import { serviceTests } from "./services.ts";
import { onCluster } from "./suite.ts";

onCluster("Fairlead, IPv6 alone", { network: "fairlead", families: [6] }, [meshTests, serviceTests]);

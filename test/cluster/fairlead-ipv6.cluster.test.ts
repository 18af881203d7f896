// Fairlead in a real cluster that knows no IPv4: the network model, services and names.

import { meshTests } from "./mesh.ts";
import { nameTests } from "./names.ts";
import { serviceTests } from "./services.ts";
import { onCluster } from "./suite.ts";

onCluster("Fairlead, IPv6 alone", { network: "fairlead", families: [6] }, [meshTests, serviceTests, nameTests]);

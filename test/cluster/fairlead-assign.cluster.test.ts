// Fairlead in a real cluster that gives its nodes no blocks: the controller does, and all else is as elsewhere. IPv4 alone, for once.

import { identityTests } from "./identities.ts";
import { meshTests } from "./mesh.ts";
import { onCluster } from "./suite.ts";

onCluster("Fairlead gives the blocks, IPv4 alone", { network: "fairlead", allocateNodeCidrs: false, families: [4] }, [
  meshTests,
  identityTests,
]);

// Which tests a network has to pass in a real cluster: all of them once, and with the other proxy mode those that it can change.

import { crowdTests } from "./crowd.ts";
import { groupTests } from "./groups.ts";
import { hostNetworkTests } from "./host-network.ts";
import { meshTests } from "./mesh.ts";
import { nameTests } from "./names.ts";
import { policyTests } from "./policy.ts";
import { policyServiceTests } from "./policy-services.ts";
import { policyStartTests } from "./policy-start.ts";
import { probeTests } from "./probes.ts";
import { serviceTests } from "./services.ts";
import type { Part } from "./suite.ts";
import { toldTests } from "./told.ts";
import { upheavalTests } from "./upheaval.ts";
import { workloadTests } from "./workloads.ts";

/** Everything, the quick ones first. */
export const allParts: readonly Part[] = [
  meshTests,
  hostNetworkTests,
  serviceTests,
  nameTests,
  probeTests,
  workloadTests,
  crowdTests,
  upheavalTests,
];

/** Policy, which the reference plugins know nothing of. */
export const policyParts: readonly Part[] = [policyTests, policyServiceTests, groupTests, toldTests, policyStartTests];

/** What kube-proxy has a hand in. */
export const proxyParts: readonly Part[] = [hostNetworkTests, serviceTests, nameTests];

/** What kube-proxy has a hand in of that. */
export const policyProxyParts: readonly Part[] = [policyServiceTests];

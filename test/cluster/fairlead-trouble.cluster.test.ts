// Fairlead in a real cluster of small blocks, which it gives itself: how nodes start, what they make of trouble, and how Fairlead is upgraded.

import { replacedTests } from "./replaced.ts";
import { fullPoolTests, standingTests, startTests } from "./standing.ts";
import { onCluster } from "./suite.ts";
import { tokenTests } from "./tokens.ts";
import { upgradeTests } from "./upgrade.ts";

const options = {
  network: "fairlead",
  allocateNodeCidrs: false,
  blockPrefixes: { 4: 27, 6: 64 },
  installLater: true,
  dns: false,
} as const;

onCluster("Fairlead in trouble", options, [
  startTests,
  fullPoolTests,
  replacedTests,
  // Agents whose containers have not ended before, which the next one needs, are what an upgrade leaves.
  upgradeTests,
  standingTests,
  tokenTests,
]);

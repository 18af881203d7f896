// What every API server does that Fairlead's programs talk to: run on the real one and on the lab's alike. Where they differ, the lab's is wrong.

import { testCallers } from "./kube-callers.contract.ts";
import { testCustomKinds, testCustomObjects } from "./kube-crd.contract.ts";
import { testDeletion } from "./kube-delete.contract.ts";
import { testLists } from "./kube-list.contract.ts";
import { testBuiltInKinds, testObjects } from "./kube-objects.contract.ts";
import { testPatches } from "./kube-patch.contract.ts";
import { testPolicyKinds } from "./kube-policy.contract.ts";
import { testWatches } from "./kube-watch.contract.ts";
import type { Wire } from "./kube-wire.ts";

/**
 * Registers the suite. `wire` gives the connection of an administrator, `as` a new one with a bearer token and no other
 * credential; both are asked for within tests only.
 */
export function testKubeApi(name: string, wire: () => Wire, as: (token: string) => Wire): void {
  testObjects(name, wire);
  testBuiltInKinds(name, wire);
  testPatches(name, wire);
  testDeletion(name, wire);
  testLists(name, wire);
  testWatches(name, wire);
  testCustomKinds(name, wire);
  testCustomObjects(name, wire);
  testPolicyKinds(name, wire);
  testCallers(name, wire, as);
}

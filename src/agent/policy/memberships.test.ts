// Memberships of what is told and of own pods, over states that follow each other.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { testIp } from "../../../test/store.contract.ts";
import { present } from "../../base/assert.ts";
import { networkPolicies } from "../../kube/policy-objects.ts";
import type { Member, PolicyPod } from "../../policy/model.ts";
import { readObjects } from "../../policy/read-objects.ts";
import { createMemberships } from "./memberships.ts";

const objects = readObjects({
  namespaces: [],
  serviceAccounts: [],
  networkPolicies: [
    networkPolicies.parse({
      metadata: { namespace: "shop", name: "front" },
      spec: { podSelector: {}, ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }] }] },
    }),
  ],
  groups: [],
  bindings: [],
  groupPolicies: [],
});
const key = present([...objects.memberships.keys()][0], "a membership");

const addresses = Array.from({ length: 8 }, (_, host) => testIp(`10.0.0.${host + 1}`));
const ownPod = (host: number, isWeb: boolean): PolicyPod => ({
  namespace: "shop",
  name: `pod-${host}`,
  uid: `uid-${host}`,
  labels: isWeb ? { app: "web" } : {},
  serviceAccount: "default",
  node: "a",
  addresses: [present(addresses[host], "an address")],
  ports: [],
});

const part = fc
  .uniqueArray(fc.constantFrom(...addresses), { maxLength: 4 })
  .map((some): readonly Member[] => some.map((address) => ({ address, ports: [] })));
const own = fc.uniqueArray(fc.tuple(fc.nat(addresses.length - 1), fc.boolean()), {
  maxLength: 3,
  selector: ([host]) => host,
});

void test("after any states before it, a state is what it is alone; what did not change is the same", () => {
  const states = fc
    .array(part, { minLength: 1, maxLength: 5 })
    .chain((parts) => fc.array(fc.tuple(fc.subarray(parts), own), { minLength: 1, maxLength: 6 }));
  fc.assert(
    fc.property(states, (all) => {
      const lasting = createMemberships();
      for (const [told, pods] of all) {
        const ownPods = (): Parameters<typeof lasting>[1] => ({
          pods: pods.map(([host, isWeb]) => ownPod(host, isWeb)),
          addresses: new Set(pods.map(([host]) => present(addresses[host], "an address"))),
        });
        const found = present(lasting(new Map([[key, told]]), ownPods(), objects).get(key), "members");
        const alone = createMemberships()(new Map([[key, told]]), ownPods(), objects).get(key);
        assert.deepEqual(found.flat(), alone?.flat());
        assert.equal(lasting(new Map([[key, told]]), ownPods(), objects).get(key), found, "the same list");
        const isOwn = ({ address }: Member): boolean => ownPods().addresses.has(address);
        for (const [at, one] of told.entries()) if (!one.some(isOwn)) assert.equal(found[at], one, "the same part");
      }
    }),
    { numRuns: 500 },
  );
});

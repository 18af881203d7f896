// Which addresses lie in some networks: whatever has come and gone since they were asked for first, it is what a look at all of them says.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { present } from "../base/assert.ts";
import { testIp } from "../../test/store.contract.ts";
import { createAddressTally } from "./address-tally.ts";
import { type Cidr, cidrContains, parseCidr } from "./cidr.ts";
import type { Ip } from "./ip.ts";

const networks = ["10.4.1.0/30", "10.4.1.0/24", "fd00:4:1::/64", "fd00:4:2::/64"].map((text) =>
  present(parseCidr(text), text),
);
const addresses = ["10.4.1.2", "10.4.1.9", "10.4.2.2", "fd00:4:1::2", "fd00:4:1:0:1::", "fd00:4:2::2", "fd00:4:3::2"];

const steps = fc.array(
  fc.oneof(
    fc.record({ what: fc.constant("add" as const), which: fc.array(fc.constantFrom(...addresses.map(testIp))) }),
    fc.record({ what: fc.constant("remove" as const), which: fc.nat() }),
    fc.record({ what: fc.constant("ask" as const), where: fc.subarray(networks) }),
  ),
  { maxLength: 40 },
);

void test("as addresses and networks change, what lies within is what a look at all of them says", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const tally = createAddressTally();
      const named: Ip[][] = [];
      let where: Cidr[] = [];
      for (const step of all) {
        if (step.what === "add") {
          tally.add(step.which);
          named.push(step.which);
        } else if (step.what === "remove") {
          tally.remove(named.splice(step.which % Math.max(1, named.length), 1).flat());
        } else where = step.where;
        const left = new Set(named.flat());
        const near = [...left].filter((address) => where.some((network) => cidrContains(network, address)));
        assert.deepEqual(new Set(tally.within(where)), new Set(near));
        assert.deepEqual(
          [tally.size, addresses.filter((text) => tally.has(testIp(text))).length],
          [left.size, left.size],
        );
      }
    }),
    { numRuns: 500 },
  );
});

// Whatever the rules: the lookups that they become decide as the rules say, equal content has equal names, and nothing is missing or left over.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { lookupAllows, rulesAllow } from "../../test/policy/compile-view.ts";
import { layer, memberships, packet } from "../../test/policy/compile-world.ts";
import { createCompiler } from "./compile.ts";

const anyLayer = fc.oneof(layer("networkPolicy", "egress"), layer("groups", "ingress"));

void test("lookups decide as the rules that they are made of", () => {
  let allowed = 0;
  let asked = 0;
  fc.assert(
    fc.property(anyLayer, memberships, fc.array(packet, { minLength: 20, maxLength: 20 }), (made, members, packets) => {
      const { compile, factsOf } = createCompiler();
      const subject = { egress: [], ingress: [], [made.direction]: [made] };
      const ruleset = compile({
        subjects: [{ subject, classNumber: 101 }],
        memberships: members,
        links: new Set(),
        groupsJudgeOwnNode: false,
      });
      for (const sent of packets) {
        const expected = rulesAllow(made, members, sent);
        assert.equal(lookupAllows(ruleset, factsOf(made).name, sent), expected, JSON.stringify(sent));
        asked += 1;
        if (expected) allowed += 1;
      }
    }),
    { numRuns: 2000 },
  );
  // A world in which nearly everything passes, or nothing, would prove little.
  assert.ok(allowed > asked / 5 && allowed < (asked * 4) / 5, `${allowed} of ${asked} passed`);
});

// What docs/policy.md shows, tried: each example in YAML with the table of packets below it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { policyWorld } from "../../test/policy-world.ts";

const page = readFileSync(new URL("../../docs/policy.md", import.meta.url), "utf8");

/** As the page introduces them. */
const pods = {
  "shop/web": { labels: { app: "web" } },
  "shop/db": { labels: { app: "db" }, ports: { "pg/tcp": 5432 } },
  "shop/cron": {},
  "bank/web": { labels: { app: "web" } },
};

interface Example {
  heading: string;
  objects: string;
  packets: readonly { packet: string; outcome: string }[];
}

function examplesOf(text: string): Example[] {
  return text.split(/^## /m).flatMap((section) => {
    const heading = section.slice(0, section.indexOf("\n"));
    return [...section.matchAll(/```yaml\n(.*?)```\n\n((?:\|[^\n]*\n)+)/gs)].map(([, objects = "", table = ""]) => ({
      heading,
      objects,
      packets: [...table.matchAll(/^\| `(.*?)` \| (.*?) \|$/gm)].map(([, packet = "", outcome = ""]) => ({
        packet,
        outcome,
      })),
    }));
  });
}

const examples = examplesOf(page);

test("the page has an example with its packets for each kind of object", () => {
  assert.deepEqual(
    examples.map(({ heading }) => heading),
    ["NetworkPolicy", "Security groups", "Probation"],
  );
  for (const { heading, packets } of examples) assert.ok(packets.length >= 4, heading);
});

for (const { heading, objects, packets } of examples) {
  test(`${heading}: packets pass and are denied as the page says`, () => {
    const world = policyWorld({ pods, objects });
    for (const { packet, outcome } of packets) {
      const { passes, audited } = world.judge.verdict(world.packet(packet));
      const word = passes ? (audited.length > 0 ? "passes, audited" : "passes") : "denied";
      assert.equal(word, outcome, packet);
    }
  });
}

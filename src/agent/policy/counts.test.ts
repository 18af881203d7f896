// What was denied and audited, by whom: through edits, through layers that go, and with more layers than labels.

import assert from "node:assert/strict";
import { test } from "node:test";
import { layerCounter } from "../../policy/counters.ts";
import type { Layer } from "../../policy/model.ts";
import { createPolicyCounts, layersToldMax, objectsLenMax, policyReadings } from "./counts.ts";

const layer = (objects: readonly string[], otherwise: Layer["otherwise"]): Layer => ({
  kind: "groups",
  direction: "ingress",
  id: `ingress of ${objects.join(", ")}`,
  objects,
  otherwise,
  rules: [],
});
const named = (name: string, object: string | readonly string[], otherwise: Layer["otherwise"] = "deny") => ({
  layer: layer([object].flat(), otherwise),
  name,
});

/** Counts over a table that says what `say` was given. */
function stand() {
  let nowMs = 0;
  let said: Record<string, number> = {};
  let reads = 0;
  const table = {
    counted: async () => {
      reads += 1;
      return new Map(Object.entries(said));
    },
  };
  const counts = createPolicyCounts(table, () => nowMs);
  const read = async (now: Record<string, number>): Promise<Record<string, number>> => {
    nowMs += 60_000;
    said = now;
    await counts.read();
    return Object.fromEntries(
      counts.layers().map(({ objects, otherwise, packets }) => [`${objects.join(", ")} ${otherwise}`, packets]),
    );
  };
  return { counts, read, reads: () => reads };
}
const [db, dbEdited, trial] = ["i_1", "i_2", "i_3"];

void test("packets are summed by objects: an edit goes on where the rules before it ended", async () => {
  const { counts, read } = stand();
  counts.know([named(db, "SecurityGroup db"), named(trial, "SecurityGroup trial", "audit")]);
  const first = { [`${db}.deny`]: 4, [`${trial}.audit`]: 1 };
  assert.deepEqual(await read(first), { "SecurityGroup db deny": 4, "SecurityGroup trial audit": 1 });
  counts.know([named(dbEdited, "SecurityGroup db")]);
  // The kernel tells for the last time of those that went.
  const second = { [`${db}.deny`]: 2, [`${dbEdited}.deny`]: 3, [`${trial}.audit`]: 1 };
  assert.deepEqual(await read(second), { "SecurityGroup db deny": 9, "SecurityGroup trial audit": 2 });
  assert.deepEqual(await read({ [`${db}.deny`]: 7, [`${dbEdited}.deny`]: 0 }), {
    "SecurityGroup db deny": 9,
    "SecurityGroup trial audit": 2,
    "others deny": 7,
  });
});

void test("beyond so many objects the rest is summed", async () => {
  const { counts, read } = stand();
  const many = Array.from({ length: layersToldMax + 50 }, (_, index) => named(`i_${index}`, `SecurityGroup g${index}`));
  counts.know(many);
  const said = Object.fromEntries(many.map(({ name }) => [layerCounter({ name, otherwise: "deny" }), 1]));
  const sums = await read(said);
  assert.ok(Object.keys(sums).length <= layersToldMax + 1);
  assert.equal(sums["others deny"], 50);
  counts.know([]);
  assert.equal((await read({ "gone.audit": 2 }))["others audit"], 2);
});

void test("of many objects with long names each has what they denied, and those of other layers have not", async () => {
  const { counts, read } = stand();
  const group = (index: number): string => `SecurityGroup ${"long-".repeat(40)}${index}`;
  const many = Array.from({ length: 16 }, (_, index) => group(index));
  counts.know([named("i_1", many), named("i_2", [...many.slice(0, 15), group(99)]), named("i_3", [group(7)])]);
  await read({ "i_1.deny": 1, "i_2.deny": 10, "i_3.deny": 100 });
  const deniedBy = (object: string): number =>
    counts
      .layers()
      .filter(({ objects }) => objects.includes(object))
      .reduce((sum, { packets }) => sum + packets, 0);
  assert.deepEqual([0, 7, 14, 15, 99].map(group).map(deniedBy), [11, 111, 11, 1, 10]);
  const labels = [...policyReadings(counts)].flatMap(([, [kind, , objects = ""]]) =>
    kind === "groups" ? objects : [],
  );
  assert.equal(new Set(labels).size, 3, "a label each");
  for (const label of labels) {
    assert.ok(label.length <= objectsLenMax, label);
    const names = label.replace(/ and \d+ more \(\w+\)$/, "").split(", ");
    assert.ok(names.length > 0 && names.every((name) => many.includes(name)), label);
  }
  assert.deepEqual(
    labels.map((label) => / and (\d+) more /.exec(label)?.[1]),
    ["14", "14", undefined],
  );
});

void test("the kernel is read once for all who ask at once, and again a moment later", async () => {
  const { counts, read, reads } = stand();
  await Promise.all([counts.read(), counts.read()]);
  await counts.read();
  assert.equal(reads(), 1);
  await read({});
  assert.equal(reads(), 2);
});

void test("metrics tell denied from audited, and what no layer has counted", async () => {
  const { counts, read } = stand();
  counts.know([named(db, "SecurityGroup db"), named(trial, "SecurityGroup trial", "audit")]);
  await read({ [`${db}.deny`]: 4, [`${trial}.audit`]: 1, unknown_class: 5, midstream: 6, metadata: 7, resets: 3 });
  assert.deepEqual(
    [...policyReadings(counts)],
    [
      ["fairlead_policy_denied_packets_total", ["groups", "ingress", "SecurityGroup db"], 4],
      ["fairlead_policy_audited_packets_total", ["groups", "ingress", "SecurityGroup trial"], 1],
      ["fairlead_policy_refused_packets_total", ["unknown_class"], 5],
      ["fairlead_policy_refused_packets_total", ["midstream"], 6],
      ["fairlead_policy_refused_packets_total", ["metadata"], 7],
      ["fairlead_policy_resets_total", [], 3],
    ],
  );
});

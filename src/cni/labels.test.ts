// Labels that a caller gives a sandbox.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../base/fault.ts";
import { labelsMax, labelsOf } from "./labels.ts";

const given = (labels: unknown): Record<string, string> =>
  labelsOf({ args: { cni: labels === undefined ? {} : { labels } } });

test("labels of args.cni.labels by their keys; none where nothing is said", () => {
  const list = [
    { key: "app", value: "web" },
    { key: "tier", value: "front" },
    { key: "app", value: "db" },
  ];
  assert.deepEqual(given(list), { app: "db", tier: "front" });
  assert.deepEqual([given(undefined), given(null), given([]), labelsOf({})], [{}, {}, {}, {}]);
});

test("what is no list of keys and values is refused by its place", () => {
  const tooMany = Array.from({ length: labelsMax + 1 }, (_, at) => ({ key: `k${at}`, value: "" }));
  for (const wrong of [{ app: "web" }, "app", [1], [{ key: "app" }], [{ key: 1, value: "x" }], tooMany]) {
    assert.throws(
      () => given(wrong),
      (error) => isFault(error, "unsupported-value") && error.message.startsWith("args.cni.labels: "),
      JSON.stringify(wrong).slice(0, 80),
    );
  }
});

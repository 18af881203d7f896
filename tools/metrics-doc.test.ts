// docs/metrics.md says what the program's table says.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { metricsFile, metricsText } from "./metrics-doc.ts";

test("docs/metrics.md is made from the table; node tools/metrics-doc.ts makes it anew", () => {
  assert.equal(readFileSync(metricsFile, "utf8"), metricsText());
});

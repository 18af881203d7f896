// deploy/fairlead.yaml: whole, of one version, and asking for no more than the programs use.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { installFile, installText } from "./deploy.ts";

test("deploy/fairlead.yaml is made from its parts; node tools/deploy.ts makes it anew", () => {
  assert.equal(readFileSync(installFile, "utf8"), installText());
});

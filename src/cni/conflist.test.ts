// The installed configuration, read as a runtime reads it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { conflistFile, conflistText } from "./conflist.ts";

void test("the list is pretty JSON that ends with a newline, and its file sorts before other plugins' usual names", () => {
  const text = conflistText();
  assert.deepEqual(JSON.parse(text), {
    cniVersion: "1.0.0",
    cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
    name: "fairlead",
    plugins: [{ type: "fairlead-cni" }],
  });
  assert.match(text, /^\{\n {2}"cniVersion".*\}\n$/s);
  assert.ok(conflistFile < "10-z.conflist" && conflistFile.endsWith(".conflist"));
});

// Words that are nearly others.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest } from "./near.ts";

const known = ["ingress", "egress", "bindableFrom", "from", "mode", "to"];

test("a word with a slip is the nearest of those that are known", () => {
  const table: [string, string | undefined][] = [
    ["egres", "egress"],
    ["egresss", "egress"],
    ["ingerss", "ingress"],
    ["INGRESS", "ingress"],
    ["bindablefrm", "bindableFrom"],
    ["form", "from"],
    ["mod", "mode"],
    ["node", "mode"],
    ["nude", undefined],
    ["ports", undefined],
    ["x", undefined],
    ["", undefined],
    ["e".repeat(1000), undefined],
  ];
  for (const [word, meant] of table) assert.equal(nearest(word, known), meant, word);
});

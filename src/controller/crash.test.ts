// A leader that dies, or sleeps and wakes, at each of its calls to the API server in turn: nothing is given twice, nothing is lost.

import { test } from "node:test";
import { present } from "../base/assert.ts";
import { checkSettled } from "../../test/controller/settled.ts";
import { setStage, upheavals } from "../../test/controller/stage.ts";
import { type Ground, walk } from "../../test/controller/walk.ts";

const ghost = "n2 goes, others come, and its agent has not heard";

const ground: Ground = {
  setStage,
  check: checkSettled,
  parts: [
    /^POST blockledgers v4/,
    /^POST blockledgers v6/,
    /^PUT blockledgers/,
    /^PATCH nodes n2/,
    /^PATCH nodenetworks n2/,
    /^DELETE nodenetworks old/,
    /^DELETE nodeendpoints old/,
    /^LIST nodes/,
  ],
};

for (const what of ["before", "after"] as const) {
  test(`a leader dies ${what} each of its calls is made`, () =>
    walk(ground, { what, upheaval: async () => [], deaf: [] }));
}

for (const [happening, upheaval] of Object.entries(upheavals)) {
  test(`a leader sleeps at each of its calls; ${happening}; it wakes and goes on with what it knew`, () =>
    walk(ground, { what: "stall", upheaval, deaf: ["nodes", "networks", "endpoints", "ledgers"] }));
}

test("a leader sleeps at each of its calls; n2 goes; it wakes, sees the NodeNetwork that n2's agent makes, and not that n2 is gone", () =>
  walk(ground, { what: "stall", upheaval: present(upheavals[ghost], ghost), deaf: ["nodes"] }));

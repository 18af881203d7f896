// Break-glass: what the annotation says, what it opens while it lasts, and that a bad one opens nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertPasses, policyWorld, type PolicyWorld, shopPolicy } from "../../test/policy-world.ts";
import { breakGlassAnnotation, breakGlassMaxMs, lasts, nextEdgeMs, readBreakGlass } from "./break-glass.ts";

const noon = Date.parse("2026-11-26T12:00:00Z");
const hourMs = 3_600_000;
const at = (ms: number): string => new Date(ms).toISOString();

const pods = { "shop/web": {}, "bank/web": { node: "n2" } };
const isolated = shopPolicy("ingress: []\negress: []\npolicyTypes: [Ingress, Egress]");
const closedBank = `---\nkind: NetworkPolicy\nmetadata: { namespace: bank, name: p }\nspec: { podSelector: {}, policyTypes: [Ingress] }\n`;
const shopWith = (text: string): string =>
  `---\nkind: Namespace\nmetadata: { name: shop, annotations: { ${breakGlassAnnotation}: ${JSON.stringify(text)} } }\n`;

const world = (text: string, nowMs: number, nodeText?: string): PolicyWorld =>
  policyWorld({
    pods,
    objects: isolated + closedBank + shopWith(text),
    options: { nowMs, nodeBreakGlass: new Map(nodeText === undefined ? [] : [["n2", nodeText]]) },
  });
const twoHours = `${at(noon - hourMs)}/${at(noon + hourMs)}`;

test("while it lasts policy denies the namespace's pods nothing, and marks what it would; others stay as they are", () => {
  const now = world(twoHours, noon);
  assertPasses(now, "yes 8.8.8.8 > shop/web tcp 80\nyes shop/web > 8.8.8.8 tcp 80\nno 8.8.8.8 > bank/web tcp 80");
  assertPasses(now, "no shop/web > bank/web tcp 80");
  const { audited } = now.judge.verdict(now.packet("8.8.8.8 > shop/web tcp 80"));
  assert.deepEqual(
    audited.map(({ direction, kind }) => `${direction} ${kind}`),
    ["ingress networkPolicy"],
  );
});

test("before its begin and from its end on it opens nothing", () => {
  for (const nowMs of [noon - hourMs - 1, noon + hourMs])
    assertPasses(world(twoHours, nowMs), "no 8.8.8.8 > shop/web tcp 80");
  for (const nowMs of [noon - hourMs, noon + hourMs - 1])
    assertPasses(world(twoHours, nowMs), "yes 8.8.8.8 > shop/web tcp 80");
});

test("of a node it opens the pods of that node", () => {
  const now = world("", noon, twoHours);
  assertPasses(now, "yes 8.8.8.8 > bank/web tcp 80\nno 8.8.8.8 > shop/web tcp 80");
});

test("an explanation says by whose break-glass traffic passes, and until when", () => {
  const now = world(twoHours, noon);
  const told = now.judge.explain(now.packet("8.8.8.8 > shop/web tcp 80")).judgements[2];
  assert.equal(told?.outcome, "audited");
  assert.match(told.says, /^no rule allows .*; it passes by break-glass of Namespace shop until 2026-11-26T13:00:00Z$/);
});

test("one that is too long, or cannot be read, opens nothing, however much time goes by, and is told", () => {
  const tooLong = `${at(noon)}/${at(noon + breakGlassMaxMs + 1)}`;
  const cases: [string, RegExp][] = [
    [tooLong, /lasts longer than 24 hours/],
    [`${at(noon + hourMs)}/${at(noon)}`, /ends before it begins/],
    [at(noon + hourMs), /is no begin and end such as 2026-/],
    [`${twoHours}/${at(noon)}`, /is no begin and end/],
    ["2026-11-26 11:00:00Z/2026-11-26 13:00:00Z", /is no begin and end/],
    ["2026-11-26/2026-11-27", /is no begin and end/],
    ["2026-13-26T11:00:00Z/2026-13-26T13:00:00Z", /is no begin and end/],
    ["true", /is no begin and end/],
    ["", /is no begin and end/],
  ];
  for (const [text, message] of cases) {
    for (const nowMs of [noon, noon + hourMs / 2, noon + breakGlassMaxMs]) {
      const now = world(text, nowMs);
      assertPasses(now, "no 8.8.8.8 > shop/web tcp 80");
      assert.match(now.model.problems.map((one) => `${one.object} ${one.message}`).join(), message, text);
    }
  }
});

test("the longest that is allowed is allowed, in any offset of time", () => {
  const report = (): never => assert.fail("nothing is wrong");
  const read = readBreakGlass("Node n", "2026-11-26T13:00:00+01:00/2026-11-27T12:00:00Z", report);
  assert.deepEqual(read, { title: "Node n", fromMs: noon, untilMs: noon + breakGlassMaxMs });
  assert.ok(lasts(read, noon) && !lasts(read, noon + breakGlassMaxMs));
});

test("the next begin or end of several is known", () => {
  const glass = (fromMs: number, untilMs: number): Parameters<typeof lasts>[0] => ({ title: "", fromMs, untilMs });
  const all = [glass(10, 50), glass(20, 30)];
  const edges = [0, 10, 20, 30, 50].map((now) => nextEdgeMs(all, now));
  assert.deepEqual(edges, [10, 20, 30, 50, Infinity]);
});

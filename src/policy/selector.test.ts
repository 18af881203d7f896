// Selectors: one text for one meaning, and the meaning kept.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { LabelSelector } from "../kube/policy-objects.ts";
import type { CanonicalSelector } from "./model.ts";
import { canonicalSelector, everything, selectorText, selects } from "./selector.ts";

function canonical(selector: LabelSelector): CanonicalSelector {
  const read = canonicalSelector(selector, "s", (path, message) => assert.fail(`${path}: ${message}`));
  assert.ok(read !== undefined);
  return read;
}

type Expression = NonNullable<LabelSelector["matchExpressions"]>[number];
const expression = (key: string, operator: Expression["operator"], ...values: string[]): Expression =>
  values.length === 0 ? { key, operator } : { key, operator, values };
const text = (matchLabels: Record<string, string>, ...matchExpressions: Expression[]): string =>
  selectorText(canonical({ matchLabels, matchExpressions }));

test("one spelling: sorted, labels among expressions, nothing twice", () => {
  assert.equal(selectorText(canonical({})), "*");
  assert.equal(text({ b: "2", a: "1" }), "a=1,b=2");
  assert.equal(text({}, expression("a", "In", "1")), "a=1");
  assert.equal(text({ a: "1" }, expression("a", "In", "1")), "a=1");
  assert.equal(text({}, expression("a", "In", "y", "x", "y")), "a in (x,y)");
  assert.equal(text({ a: "x" }, expression("a", "In", "y", "x")), "a=x");
  assert.equal(text({}, expression("a", "NotIn", "y"), expression("a", "NotIn", "x")), "a notin (x,y)");
  assert.equal(text({}, expression("a", "In", "x", "y"), expression("a", "NotIn", "x")), "a=y");
  assert.equal(text({ a: "x" }, expression("a", "Exists")), "a=x");
  assert.equal(text({}, expression("a", "NotIn", "x"), expression("a", "Exists")), "a,a!=x");
  assert.equal(text({}, expression("a", "NotIn", "x"), expression("a", "DoesNotExist")), "!a");
  assert.equal(text({ "x.example/a": "" }), "x.example/a=");
});

test("what no object can meet has one text, too", () => {
  assert.equal(text({ a: "1" }, expression("a", "In", "2")), "(none)");
  assert.equal(text({ a: "1", b: "1" }, expression("b", "NotIn", "1")), "(none)");
  assert.equal(text({}, expression("a", "Exists"), expression("a", "DoesNotExist")), "(none)");
  assert.equal(text({ a: "1" }, expression("a", "DoesNotExist")), "(none)");
  for (const labels of [{}, { a: "1" }, { "": "" }]) {
    assert.equal(
      selects(canonical({ matchLabels: { a: "1" }, matchExpressions: [expression("a", "In", "2")] }), labels),
      false,
    );
  }
});

test("labels are an object's own, not what every object of the language has", () => {
  assert.equal(selects(canonical({ matchExpressions: [expression("constructor", "Exists")] }), {}), false);
  assert.equal(selects(canonical({ matchExpressions: [expression("toString", "DoesNotExist")] }), {}), true);
});

test("what a server would refuse is unreadable as a whole, and each fault is told", () => {
  const faults: string[] = [];
  const selector: LabelSelector = {
    matchLabels: { "a b": "1", ok: "-" },
    matchExpressions: [expression("a", "In"), expression("a", "Exists", "x"), expression("x".repeat(64), "Exists")],
  };
  assert.equal(
    canonicalSelector(selector, "spec.s", (path) => faults.push(path)),
    undefined,
  );
  assert.deepEqual(faults, [
    'spec.s.matchLabels["a b"]',
    'spec.s.matchLabels["ok"]',
    "spec.s.matchExpressions[0]",
    "spec.s.matchExpressions[1]",
    "spec.s.matchExpressions[2]",
  ]);
});

const keys = ["a", "b"];
const values = ["1", "2", "3"];
const labels = fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...values), { maxKeys: 2 });
const expressions: fc.Arbitrary<Expression> = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(...keys),
      fc.constantFrom("In" as const, "NotIn" as const),
      fc.array(fc.constantFrom(...values), { minLength: 1, maxLength: 4 }),
    )
    .map(([key, operator, values]) => ({ key, operator, values })),
  fc
    .tuple(fc.constantFrom(...keys), fc.constantFrom("Exists" as const, "DoesNotExist" as const))
    .map(([key, operator]) => ({ key, operator })),
);
const selectors: fc.Arbitrary<LabelSelector> = fc.record({
  matchLabels: labels,
  matchExpressions: fc.array(expressions, { maxLength: 4 }),
});

/** As the API documentation has it, requirement by requirement. */
function means({ matchLabels = {}, matchExpressions = [] }: LabelSelector, of: Record<string, string>): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => of[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = of[key];
      if (operator === "Exists") return value !== undefined;
      if (operator === "DoesNotExist") return value === undefined;
      const named = value !== undefined && values.includes(value);
      return operator === "In" ? named : !named;
    })
  );
}

const allLabels = [undefined, ...values].flatMap((a) =>
  [undefined, ...values].map((b) => ({ ...(a === undefined ? {} : { a }), ...(b === undefined ? {} : { b }) })),
);

test("the canonical form means what was written", () => {
  fc.assert(
    fc.property(selectors, (selector) => {
      const read = canonical(selector);
      for (const labels of allLabels) assert.equal(selects(read, labels), means(selector, labels));
    }),
    { numRuns: 2000 },
  );
});

test("the order of what is written changes no text, and a form read again is itself", () => {
  fc.assert(
    fc.property(selectors, (selector) => {
      const { matchLabels = {}, matchExpressions = [] } = selector;
      const turned: LabelSelector = {
        matchLabels: Object.fromEntries(Object.entries(matchLabels).reverse()),
        matchExpressions: matchExpressions.toReversed(),
      };
      const read = canonical(selector);
      assert.equal(selectorText(read), selectorText(canonical(turned)));
      if (selectorText(read) === "(none)") return;
      const again = read.map(({ key, operator, values }) => expression(key, operator, ...values));
      assert.deepEqual(canonical({ matchExpressions: again }), read);
    }),
  );
});

test("different texts of one key mean different things", () => {
  // All selectors over one key with up to two expressions: two that select the same labels have the same text.
  const parts = [
    ...values.map((value) => expression("a", "In", value)),
    ...values.map((value) => expression("a", "NotIn", value)),
    expression("a", "In", "1", "2"),
    expression("a", "Exists"),
    expression("a", "DoesNotExist"),
  ];
  const texts = new Map<string, string>();
  for (const one of parts) {
    for (const two of parts) {
      const read = canonical({ matchExpressions: [one, two] });
      const selected = ["absent", ...values, "other"]
        .filter((a) => selects(read, a === "absent" ? {} : { a }))
        .join(" ");
      const known = texts.get(selected);
      assert.equal(selectorText(read), known ?? selectorText(read), selected);
      texts.set(selected, selectorText(read));
    }
  }
  assert.deepEqual(canonical({}), everything);
});

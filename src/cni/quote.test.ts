// Foreign text in messages: bounded, and nothing hidden in it.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { clip, quote, quoteLengthMax } from "./quote.ts";

void test("plain text is quoted as it is, quotes and backslashes marked", () => {
  assert.equal(quote("eth0"), '"eth0"');
  assert.equal(quote("Grüße 網路"), '"Grüße 網路"');
  assert.equal(quote('a"b\\c'), String.raw`"a\"b\\c"`);
});

void test("control characters, line ends, direction marks and broken characters are spelled out", () => {
  assert.equal(quote("a\nb\u{1b}[0m"), String.raw`"a\u{a}b\u{1b}[0m"`);
  assert.equal(quote("\u{202e}x\u{2028}\u{9f}"), String.raw`"\u{202e}x\u{2028}\u{9f}"`);
  assert.equal(quote("\ud83d"), String.raw`"\u{d83d}"`);
});

void test("long text is cut", () => {
  assert.equal(quote("x".repeat(quoteLengthMax)), `"${"x".repeat(quoteLengthMax)}"`);
  assert.equal(quote("x".repeat(quoteLengthMax + 1)), `"${"x".repeat(quoteLengthMax - 1)}…"`);
});

void test("clip never gives more than asked for, nor a control character", () => {
  const unit = fc.constantFrom(
    "a",
    "b",
    "\n",
    "\0",
    "\u{1b}",
    "é",
    "\u{85}",
    "\u{202e}",
    "\u{2028}",
    "😀",
    "\ud83d",
    "\udc00",
  );
  assert.equal(clip("ab😀cd", 4), "ab…");
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 100 }), fc.integer({ min: 1, max: 80 }), (text, lengthMax) => {
      const clipped = clip(text, lengthMax);
      assert.ok(clipped.length <= lengthMax);
      assert.ok(!/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(clipped));
    }),
  );
});

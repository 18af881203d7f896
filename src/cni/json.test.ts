// JSON from outside: what is no single bounded object is refused with code 6, and keys cannot reach into JavaScript's own objects.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../base/fault.ts";
import { jsonDepthMax, jsonLengthMax, nameOf, own, parseJsonObject } from "./json.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function refuses(document: Uint8Array, message: RegExp): void {
  assert.throws(
    () => parseJsonObject(document, "the document"),
    (error) => isFault(error, "bad-json") && message.test(error.message),
    new TextDecoder().decode(document.subarray(0, 40)),
  );
}

void test("empty input and blank input are called empty", () => {
  refuses(bytes(""), /^the document is empty$/);
  refuses(bytes(" \r\n\t"), /^the document is empty$/);
});

void test("truncated JSON, two documents in a row, trailing junk, comments and a byte order mark are refused", () => {
  for (const text of [
    "{",
    '{"a":',
    '{"a":1',
    "{}{}",
    "{}\n{}",
    "{} x",
    "{}\0",
    "{/**/}",
    "\u{feff}{}",
    "{'a':1}",
    "NaN",
  ]) {
    refuses(bytes(text), /is not one JSON document/);
  }
});

void test("bytes that are not UTF-8 are refused", () => {
  refuses(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), /in UTF-8/);
  refuses(Uint8Array.of(0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d), /in UTF-8/);
});

void test("a top level that is no object is refused by what it is", () => {
  const table: [string, RegExp][] = [
    ["[]", /not an array/],
    ["null", /not null/],
    ["1", /not the number 1/],
    ["true", /not the boolean true/],
    ['"x"', /not "x"/],
  ];
  for (const [text, message] of table) refuses(bytes(text), message);
});

void test("nesting is bounded, brackets within strings do not count", () => {
  const nested = (depth: number): string => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
  assert.ok(parseJsonObject(bytes(nested(jsonDepthMax)), "it"));
  refuses(bytes(nested(jsonDepthMax + 1)), /nested deeper than 64/);
  refuses(bytes("[".repeat(jsonLengthMax)), /nested deeper/);
  refuses(bytes(`{"a":[${"[],".repeat(100)}[]],${nested(jsonDepthMax + 1).slice(1)}`), /nested deeper/);
  assert.ok(parseJsonObject(bytes(`{"a":[${"[{}],".repeat(100)}[]]}`), "it"));
  const strings = { a: "[".repeat(200), b: `\\"${"{".repeat(200)}`, c: "\\" };
  assert.deepEqual({ ...parseJsonObject(bytes(JSON.stringify(strings)), "it") }, strings);
});

void test("size is bounded", () => {
  const padded = (length: number): Uint8Array => bytes(`{}${" ".repeat(length - 2)}`);
  assert.ok(parseJsonObject(padded(jsonLengthMax), "it"));
  refuses(padded(jsonLengthMax + 1), /at most 1048576/);
});

void test("hostile keys are only keys", () => {
  const object = parseJsonObject(bytes('{"__proto__":{"name":"x"},"constructor":1}'), "it");
  assert.equal(own(object, "name"), undefined);
  assert.equal(own(object, "toString"), undefined);
  assert.equal(own(object, "constructor"), 1);
  assert.equal(Reflect.get({}, "name"), undefined);
});

void test("values are named shortly in messages", () => {
  assert.equal(nameOf({}), "an object");
  assert.equal(nameOf("a\n"), String.raw`"a\u{a}"`);
  assert.ok(nameOf("x".repeat(1000)).length < 100);
});

void test("random bytes and random JSON give an object or code 6", () => {
  const document = fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.json().map(bytes), fc.string().map(bytes));
  fc.assert(
    fc.property(document, (document) => {
      try {
        parseJsonObject(document, "it");
      } catch (error) {
        assert.ok(isFault(error, "bad-json"), String(error));
        return;
      }
      const second = JSON.parse(new TextDecoder("utf-8", { ignoreBOM: true }).decode(document)) as unknown;
      assert.ok(typeof second === "object" && second !== null && !Array.isArray(second));
    }),
    { numRuns: 2000 },
  );
});

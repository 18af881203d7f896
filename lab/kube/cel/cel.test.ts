// CEL by examples: each expression with its value, or the error that it has instead.

import assert from "node:assert/strict";
import { test } from "node:test";
import { evaluate } from "./evaluate.ts";
import { mentions, parse } from "./parse.ts";
import { CelError, CelMap, type CelValue } from "./values.ts";

const map = (entries: Record<string, CelValue>): CelMap => new CelMap(Object.keys(entries), (key) => entries[key]);
const self = map({
  name: "fairlead",
  size: 3n,
  ratio: 0.5,
  list: ["a", "b", "c"],
  numbers: [1n, 2n, 3n],
  labels: map({ "a-b": "x", namespace: "y" }),
  network: "10.4.1.0/24",
});

const valueOf = (text: string): CelValue => evaluate(parse(text), { self });

const truths = [
  "1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 % 3 == -1",
  "1 == 1.0 && 1 < 1.5 && 'a' < 'b' && !(1 == 'a')",
  "(1 + 2) * 3 == 9",
  "true ? true : false",
  "false || true && !false",
  "self.size == 3 && self['name'] == 'fairlead'",
  "has(self.name) && !has(self.other)",
  "!has(self.other) || self.other.deep == 1",
  "self.other == 1 || true",
  "'b' in self.list && !('z' in self.list) && 'a-b' in self.labels",
  "self.labels.a__dash__b == 'x' && self.labels.__namespace__ == 'y'",
  "size(self.list) == 3 && self.name.size() == 8 && 'é'.size() == 1",
  "self.list.all(x, x.size() == 1) && self.list.exists(x, x == 'b') && self.list.exists_one(x, x == 'b')",
  "self.list.filter(x, x != 'b') == ['a', 'c'] && self.numbers.map(x, x * 2) == [2, 4, 6]",
  "self.numbers.map(x, x > 1, x) == [2, 3] && self.numbers.sum() == 6 && self.numbers.max() == 3",
  "self.labels.all(key, self.labels[key].matches('^[xy]$'))",
  "self.list.exists(x, x == 'a' || self.none == 1)",
  "self.name.startsWith('fair') && self.name.endsWith('lead') && self.name.contains('rl')",
  "self.name.matches('^f.*d$') && !self.name.matches('^lead$')",
  "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'A'.lowerAscii() == 'a'",
  String.raw`'it\'s' == "it's" && r'\d' == '\\d'`,
  "{'a': 1}.a == 1 && [[1, 2], [3]][1][0] == 3",
  "string(12) == '12' && int('12') == 12 && self.ratio * 2.0 == 1.0",
  "isIP('10.0.0.1') && !isIP('10.0.0.256') && !isIP('10.0.0.1/8') && isCIDR(self.network)",
  "cidr(self.network) == cidr(self.network).masked() && cidr('10.4.1.5/24') != cidr('10.4.1.5/24').masked()",
  "ip('fd00::1').family() == 6 && cidr('fd00::/64').prefixLength() == 64",
  "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
  "cidr('10.0.0.0/8').containsCIDR(cidr('10.4.0.0/14')) && !cidr('10.4.0.0/14').containsCIDR('10.0.0.0/8')",
  "ip('169.254.1.1').isLinkLocalUnicast() && ip('127.0.0.1').isLoopback()",
];

void test("expressions that hold", () => {
  for (const text of truths) assert.equal(valueOf(text), true, text);
});

const errors: [text: string, words: RegExp][] = [
  ["1 +", /Syntax error/],
  ["a b", /extraneous input 'b'/],
  ["#", /token recognition error/],
  ["'open", /token recognition error/],
  ["has(self)", /invalid argument to has/],
  ["self.list.all(1, true)", /takes the name of a variable/],
  ["none == 1", /undeclared reference to 'none'/],
  ["nothing(1)", /undeclared reference to 'nothing'/],
  ["self.other == 1", /no such key: other/],
  ["self.list[3] == 'd'", /index out of bounds/],
  ["1 / 0 == 1", /division by zero/],
  ["9223372036854775807 + 1 > 0", /integer overflow/],
  ["1 + 'a' == 'b'", /no such overload/],
  ["self.name && true", /no such overload/],
  ["'a' < 1", /no such overload/],
  ["cidr('10.0.0.0').prefixLength() == 1", /parse error/],
  ["'a'.matches('(')", /no regular expression/],
  [`${"(".repeat(80)}1${")".repeat(80)} == 1`, /nests deeper/],
];

void test("expressions that have no value say why", () => {
  for (const [text, words] of errors)
    assert.throws(
      () => valueOf(text),
      (error: unknown) => error instanceof CelError && words.test(error.message),
      text,
    );
});

void test("work is bounded", () => {
  const big = Array.from({ length: 2_000 }, (_, at) => BigInt(at));
  const rule = parse("self.all(a, self.all(b, a + b >= 0))");
  assert.throws(() => evaluate(rule, { self: big }), /cost limit/);
});

void test("what an expression mentions", () => {
  assert.equal(mentions(parse("self.a.all(x, x in oldSelf.a)"), "oldSelf"), true);
  assert.equal(mentions(parse("self.oldSelf == 'oldSelf'"), "oldSelf"), false);
});

// The record: what it tells after any cut, and which damage it refuses.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { Fault } from "../src/base/fault.ts";
import { readRecord, replayRecord } from "./record.ts";

const begin = '{"note":"begin","lab":"x","token":"t0","owner":"12:345"}';

function lines(...parts: string[]): string {
  return parts.map((part) => `${part}\n`).join("");
}

void test("a record tells what was made, what was begun, and not what is gone", () => {
  const text = lines(
    begin,
    '{"note":"intend","id":1,"kind":"netns","name":"flab-x-wire"}',
    '{"note":"intend","id":2,"kind":"process","name":"agent node-1"}',
    '{"note":"made","id":2,"identity":"77:88"}',
    '{"note":"made","id":1,"identity":"4:99"}',
    '{"note":"intend","id":3,"kind":"netns","name":"flab-x-pod-a"}',
    '{"note":"gone","id":2}',
  );
  assert.deepEqual(replayRecord(text, "r"), {
    lab: "x",
    token: "t0",
    owner: { pid: 12, startTicks: 345 },
    things: [
      { id: 1, kind: "netns", name: "flab-x-wire", identity: "4:99" },
      { id: 3, kind: "netns", name: "flab-x-pod-a" },
    ],
  });
});

void test("cut off anywhere, a record still tells every thing whose line was written, and nothing else", () => {
  const things = Array.from({ length: 12 }, (_, index) => index + 1);
  const whole = lines(
    begin,
    ...things.map((id) => `{"note":"intend","id":${id},"kind":"netns","name":"flab-x-${id}"}`),
    ...things.map((id) => `{"note":"made","id":${id},"identity":"4:${id}"}`),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: whole.length }), (length) => {
      const written = whole.slice(0, length).split("\n").slice(0, -1);
      const content = replayRecord(whole.slice(0, length), "r");
      assert.equal(content?.things.length ?? 0, written.filter((line) => line.includes('"intend"')).length);
      const identified = content?.things.filter(({ identity }) => identity !== undefined) ?? [];
      assert.equal(identified.length, written.filter((line) => line.includes('"made"')).length);
      for (const { id, identity } of identified) assert.equal(identity, `4:${id}`);
    }),
  );
});

void test("a damaged line is refused with its place: removing by it could hit foreign things", () => {
  const damages: [string, RegExp][] = [
    [lines("{}"), /^r:1/],
    [lines('{"note":"begin","lab":"x","token":"t","owner":"nobody"}'), /^r:1 is damaged/],
    [lines(begin, "half a li"), /^r:2 is no JSON/],
    [lines(begin, begin), /^r:2 is damaged/],
    [lines(begin, '{"note":"made","id":1,"identity":"4:1"}'), /^r:2 is damaged/],
    [lines(begin, '{"note":"intend","id":1,"kind":"disk","name":"sda"}'), /^r:2 at kind/],
    [lines(begin, '{"note":"intend","id":0,"kind":"netns","name":"n"}'), /^r:2 at id/],
  ];
  for (const [text, message] of damages) {
    assert.throws(() => replayRecord(text, "r"), { name: "Fault", code: "lab-failed", message });
  }
});

void test("a name that could lead out of the labs' directory is refused", () => {
  for (const name of ["", ".", "..", "a/b", "A", "x".repeat(21), "a-b", "a\n"]) {
    assert.throws(
      () => readRecord(name),
      (error) => error instanceof Fault && /is no lab name/.test(error.message),
      name,
    );
  }
});

// Faults, tables, configuration and logs: the small things that every room leans on.

import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { parseConfig } from "./config.ts";
import { asFault, describe, Fault, faults, isFault } from "./fault.ts";
import { createSlicer } from "./pause.ts";
import { createMetrics, metricTable } from "./metrics.ts";
import { formatTable } from "./table.ts";

test("CNI codes below 100 are only those of the specification, and ours do not repeat", () => {
  const codes = Object.values(faults).map(({ cni }) => cni);
  for (const code of codes)
    assert.ok([1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51, 999].includes(code) || code >= 100, String(code));
  const own = codes.filter((code) => code >= 100);
  assert.equal(new Set(own).size, own.length);
});

test("isFault tells faults and codes apart", () => {
  const fault = new Fault("pool-empty", "none left");
  assert.ok(isFault(fault));
  assert.ok(isFault(fault, "bug", "pool-empty"));
  assert.ok(!isFault(fault, "bug"));
  assert.ok(!isFault(new Error("none left")));
});

test("what is no fault becomes a bug that keeps its cause", () => {
  const error = new TypeError("x is not a function");
  assert.equal(asFault(error).code, "bug");
  assert.equal(asFault(error).cause, error);
  assert.equal(asFault("text").message, "unexpected failure: text");
});

test("describe follows causes and ends", () => {
  assert.equal(describe(new Fault("io-failure", "a", { cause: new Error("b", { cause: "c" }) })), "a: b: c");
  const loop = new Error("round");
  loop.cause = loop;
  assert.equal(describe(loop).split(": ").length, 8);
});

test("a table is aligned, without trailing spaces", () => {
  assert.equal(formatTable(["A", "LONG"], [["wider", "x"], ["y"]]), "A       LONG\nwider   x\ny");
  assert.equal(
    formatTable(["A"], [["\u001b[2Jgone\nforged\u202e"]]),
    String.raw`A` + "\n" + String.raw`\u{1b}[2Jgone\u{a}forged\u{202e}`,
  );
});

const schema = z.strictObject({ node: z.strictObject({ name: z.string() }), list: z.array(z.int()).default([1]) });

test("a configuration is parsed, has its defaults, and cannot be changed", () => {
  const config = parseConfig(schema, "node: {name: n1}", "agent.yaml");
  assert.deepEqual(config, { node: { name: "n1" }, list: [1] });
  assert.throws(() => Object.assign(config.node, { name: "other" }), TypeError);
});

test("every wrong key is named by its path", () => {
  assert.throws(
    () => parseConfig(schema, "node: {name: 3, nmae: x}\nlist: [1, two]\n", "agent.yaml"),
    (error) => {
      assert.ok(isFault(error, "bad-config"));
      assert.match(error.message, /^agent\.yaml has 3 problem/);
      assert.match(error.message, /node\.name: /);
      assert.match(error.message, /node: .*nmae/);
      assert.match(error.message, /list\[1\]: /);
      return true;
    },
  );
});

test("an empty file, broken YAML, doubled keys and alias bombs are one clear fault", () => {
  const bad = (text: string): RegExp | string => {
    try {
      parseConfig(schema, text, "agent.yaml");
      return "accepted";
    } catch (error) {
      assert.ok(isFault(error, "bad-config"), String(error));
      return error.message;
    }
  };
  assert.match(String(bad("")), /node: is missing/);
  assert.match(String(bad("node: {name: [")), /not valid YAML/);
  assert.match(String(bad("node: {name: a, name: b}")), /not valid YAML.*unique/);
  const bomb = [
    "a: &a [x,x,x,x,x,x,x,x,x]",
    ...Array.from("bcdefgh").map(
      (key, index) => `${key}: &${key} [${Array(9).fill(`*${"abcdefgh"[index]}`).join(",")}]`,
    ),
  ];
  assert.match(String(bad(bomb.join("\n"))), /cannot be read as YAML|problem/);
  assert.match(String(bad("x".repeat(1024 * 1024 + 1))), /larger than/);
});

test("metrics count verbs and loops under fixed names", async () => {
  const metrics = createMetrics();
  metrics.verb("ADD", "ok", 2);
  metrics.loop({ name: "reaper", ok: false, durationMs: 1, error: new Error("x") });
  metrics.repaired("wire", 2);
  metrics.reaped(40);
  const text = await metrics.text([["fairlead_leases", ["4", "live"], 3]]);
  assert.match(text, /fairlead_cni_duration_seconds_bucket\{le="0.003",verb="ADD",outcome="ok"\} 1/);
  assert.match(text, /fairlead_loop_passes_total\{loop="reaper",outcome="failed"\} 1/);
  assert.match(text, /fairlead_leases\{family="4",state="live"\} 3/);
  assert.match(text, /fairlead_repairs_total\{what="wire"\} 2/);
  assert.match(text, /fairlead_reaper_lag_seconds_bucket\{le="0.05"\} 1/);
  assert.doesNotMatch(await metrics.text([]), /fairlead_leases\{/, "a gauge that nobody reads any more is not told");
  for (const name of Object.keys(metricTable)) assert.match(text, new RegExp(`# TYPE ${name} `), name);
});

void test("a slicer lets the event loop turn once its slice is over, and not before", async () => {
  let turns = 0;
  setImmediate(() => (turns += 1));
  const within = createSlicer(60_000);
  for (let piece = 0; piece < 1000; piece += 1) await within();
  assert.equal(turns, 0);
  const over = createSlicer(0);
  await over();
  assert.equal(turns, 1);
});

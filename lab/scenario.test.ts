// Scenarios as text: every form, every refusal with its place, titles and claims; the project's own files.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { Fault } from "../src/base/fault.ts";
import { allScenarios } from "./commands.ts";
import type { Action, Expectation } from "./actions.ts";
import { parseScenario } from "./scenario.ts";

/** The steps that make every name of the cases below. */
const stage = [
  "cluster routes nodes=2",
  "pod a on node-1",
  "pod b on node-2",
  "pod h on node-1 hostNetwork",
  "container a2 in pod a",
  "restart pod b",
].join("\n");

function lastAction(step: string): Action | undefined {
  return parseScenario(`${stage}\n${step}`, "x.txt").steps.at(-1)?.action;
}

const everything = { protocols: ["tcp", "udp", "icmp"], families: [4, 6], ownAddress: false, not: false } as const;

void describe("forms", () => {
  const steps: [string, Action][] = [
    ["pod c on node-2", { do: "add pod", pod: "c", wish: { node: "node-2", labels: {}, ports: [] } }],
    [
      "pod c on node-2 hostNetwork",
      { do: "add pod", pod: "c", wish: { node: "node-2", labels: {}, ports: [], hostNetwork: true } },
    ],
    ["container b2 in pod b", { do: "add container", container: "b2", pod: "b" }],
    ["delete pod a", { do: "delete pod", pod: "a" }],
    ["delete pod b again", { do: "delete again", pod: "b" }],
    ["restart pod a", { do: "restart pod", pod: "a" }],
    ["check a", { do: "check pod", pod: "a" }],
    ["kill agent on node-2", { do: "agent", change: "kill", node: "node-2" }],
    ["in a run ip  link show", { do: "run", place: "a", command: ["ip", "link", "show"] }],
    ["in a run ping -c1 {b.v6}", { do: "run", place: "a", command: ["ping", "-c1", "{b.v6}"] }],
  ];
  for (const [text, action] of steps) void test(text, () => assert.deepEqual(lastAction(text), action));

  const expectations: [string, Expectation][] = [
    ["a reaches b", { expect: "reach", pairs: { from: "a", to: "b" }, ...everything }],
    [
      "a reaches b by udp over v6",
      { expect: "reach", pairs: { from: "a", to: "b" }, ...everything, protocols: ["udp"], families: [6] },
    ],
    [
      "a reaches node-2 from a's own address",
      { expect: "reach", pairs: { from: "a", to: "node-2" }, ...everything, ownAddress: true },
    ],
    [
      "a reaches b by tcp from node-2's address",
      { expect: "reach", pairs: { from: "a", to: "b" }, ...everything, protocols: ["tcp"], seenAs: "node-2" },
    ],
    [
      "a does not reach b over v4",
      { expect: "reach", pairs: { from: "a", to: "b" }, ...everything, families: [4], not: true },
    ],
    [
      "every pod reaches every pod from its own address",
      { expect: "reach", pairs: "pods to pods", ...everything, ownAddress: true },
    ],
    ["every pod reaches every node", { expect: "reach", pairs: "pods to nodes", ...everything }],
    ["every node reaches its pods", { expect: "reach", pairs: "nodes to their pods", ...everything, ownAddress: true }],
    ["a and a2 share localhost", { expect: "shared localhost", containers: ["a", "a2"] }],
    ["h is untouched", { expect: "untouched", pod: "h" }],
    ["every pod has its own addresses", { expect: "own addresses" }],
    ["b has other addresses than before", { expect: "other addresses", pod: "b" }],
    ['check of a fails with "eth0 is"', { expect: "failing check", pod: "a", words: "eth0 is" }],
    ['pod c on node-2 fails with "no free"', { expect: "failing pod", pod: "c", node: "node-2", words: "no free" }],
    ["nothing is left on node-2", { expect: "nothing left", node: "node-2" }],
  ];
  for (const [text, expectation] of expectations) {
    void test(`expect ${text}`, () => {
      assert.deepEqual(lastAction(`expect ${text}`), { do: "expect", expectation, withinMs: 0 });
      assert.deepEqual(lastAction(`within 15s expect ${text}`), { do: "expect", expectation, withinMs: 15_000 });
    });
  }

  void test("a cluster's options", () => {
    const [step] = parseScenario("cluster routes nodes=3 family=v6 gateway=no", "x.txt").steps;
    assert.deepEqual(step?.action, { do: "cluster", nodes: 3, families: [6], gateway: false, blocks: "usual" });
    const [small] = parseScenario("cluster routes nodes=1 blocks=small", "x.txt").steps;
    assert.deepEqual(small?.action, { do: "cluster", nodes: 1, families: [4, 6], gateway: true, blocks: "small" });
  });
});

void describe("refusals name file, line and cure", () => {
  const cases: [string, RegExp][] = [
    ["pod a2 in node-1", /^x\.txt:7: "pod a2 in node-1" is no known step; known are:\n {2}cluster routes/],
    ["expect a reachs b", /^x\.txt:7: .* is no known step/],
    ["cluster routes nodes=2", /^x\.txt:7: .*: there is a cluster already$/],
    ["pod a on node-1", /^x\.txt:7: .*: there is a pod a already$/],
    ["pod c on node-3", /there is no node node-3 at this point$/],
    ["pod c on a", /a is a pod, but a node is needed$/],
    ["delete pod z", /there is no pod or hostNetwork pod z at this point$/],
    ["delete pod a again", /pod a was neither deleted nor restarted before$/],
    ["expect a has other addresses than before", /neither deleted nor restarted/],
    ["delete pod a\ncheck a", /^x\.txt:8: check a: there is no pod a at this point$/],
    ["delete pod a\nexpect b reaches a2", /^x\.txt:8: .*: there is no .* a2 at this point$/],
    ["check h", /h is a hostNetwork pod, but a pod is needed$/],
    ['expect pod a on node-1 fails with "x"', /there is a pod a already$/],
    ["expect a is untouched", /a is a pod, but a hostNetwork pod is needed$/],
    ["expect a reaches b from b's own address", /it is a that reaches out, not b$/],
    ["expect a reaches b by icmp from a's own address", /does not tell which source address/],
    ["in a run sh -c 'true'", /there is no shell here/],
    ["in a run ping {z.v4}", /there is no .* z at this point$/],
    ["within 121s expect a reaches b", /wait at most 120 s$/],
  ];
  for (const [text, message] of cases) {
    void test(text, () => assert.throws(() => lastAction(text), { name: "Fault", code: "lab-failed", message }));
  }

  void test("no cluster first", () =>
    assert.throws(() => parseScenario("pod a on node-1", "x.txt"), /first step has to be a cluster/));
  void test("too many nodes", () =>
    assert.throws(() => parseScenario("cluster routes nodes=17", "x.txt"), /1 to 16 nodes/));
  void test("no steps", () => assert.throws(() => parseScenario("# nothing\n", "x.txt"), /x\.txt has no step/));
  void test("too long", () => assert.throws(() => parseScenario("\n".repeat(1_000), "x.txt"), /more than 1000 lines/));
});

void test("comments: the first is the title, the one right above a step its claim", () => {
  const text =
    "# What this\n# shows\n\ncluster routes nodes=1 # one is enough\n\n# lost\n\n# A pod\n# starts\npod a on node-1\ncheck a\n";
  const { title, steps } = parseScenario(text, "x.txt");
  assert.equal(title, "What this shows");
  assert.deepEqual(
    steps.map(({ line, text, claim }) => ({ line, text, claim })),
    [
      { line: 4, text: "cluster routes nodes=1", claim: "" },
      { line: 10, text: "pod a on node-1", claim: "A pod starts" },
      { line: 11, text: "check a", claim: "" },
    ],
  );
});

void test("any text is parsed or refused by a Fault, quickly", () => {
  const word = fc.constantFrom(
    "cluster",
    "routes",
    "nodes=2",
    "pod",
    "a",
    "on",
    "node-1",
    "expect",
    "reaches",
    "within 5s",
    "\n",
    "#",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word).map((words) => words.join(" ")),
      ),
      (text) => {
        try {
          assert.ok(parseScenario(text, "x.txt").steps.length > 0);
        } catch (error) {
          assert.ok(error instanceof Fault && error.code === "lab-failed", String(error));
        }
      },
    ),
  );
});

void test("every scenario of the project is readable and says what it shows", () => {
  const files = allScenarios();
  assert.ok(files.length >= 6, `only ${files.length} scenarios were found`);
  for (const file of files) assert.notEqual(parseScenario(readFileSync(file, "utf8"), file).title, "", file);
});

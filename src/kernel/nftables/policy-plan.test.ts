// The steps of a change of policy: what comes in which batch, and before what.

import assert from "node:assert/strict";
import { test } from "node:test";
import { blocks, emptyRuleset, fullRuleset, layer, members, ruleset, tcp } from "../../../test/policy-rulesets.ts";
import type { PolicyRuleset } from "../../policy/ruleset.ts";
import { createWriter, decodeAttributes, defineAttributes, written } from "../netlink/codec.ts";
import { type Request, splitMessages, writeMessage } from "../netlink/message.ts";
import { nftMessage } from "./constants.ts";
import { familyHeaderLen } from "./messages.ts";
import { policyImage } from "./policy-image.ts";
import { policySteps, stateOf } from "./policy-plan.ts";

const words: Readonly<Record<number, string>> = {
  [nftMessage.newTable]: "+table",
  [nftMessage.deleteTable]: "-table",
  [nftMessage.newChain]: "+chain",
  [nftMessage.deleteChain]: "-chain",
  [nftMessage.newRule]: "+rule",
  [nftMessage.deleteRule]: "-rules",
  [nftMessage.newSet]: "+set",
  [nftMessage.deleteSet]: "-set",
  [nftMessage.newElements]: "+in",
  [nftMessage.deleteElements]: "-in",
  [nftMessage.newObject]: "+counter",
  [nftMessage.deleteObject]: "-counter",
};

/** Where a message has its name: that of a chain is its third attribute, all others have it second; a table has none but its own. */
const second = defineAttributes({ name: { id: 2, kind: "string" } });
const third = defineAttributes({ name: { id: 3, kind: "string" } });

/** "+rule forward" and the like; what follows itself once. */
function inWords(messages: readonly Request[]): string[] {
  const writer = createWriter();
  for (const message of messages) writeMessage(writer, message, 1);
  const all = splitMessages(written(writer)).map(({ type, body }) => {
    const word = words[type] ?? assert.fail(`a message ${type}`);
    if (word.endsWith("table")) return word;
    const attributes = word.endsWith("chain") ? third : second;
    return `${word} ${decodeAttributes(attributes, body.subarray(familyHeaderLen)).name}`;
  });
  return all.filter((one, index) => one !== all[index - 1]);
}

const stepsBetween = (before: PolicyRuleset | undefined, after: PolicyRuleset): string[][] =>
  policySteps(before && stateOf(policyImage(before)), policyImage(after)).map(({ messages }) => inWords(messages));

const out = (name: string, network: string) =>
  layer(name, {
    ports: [{ protocol: tcp, port: 80, peers: 0 }],
    peerLists: [[{ family: 4, set: "m4" }]],
    rest: [{ peer: { family: 4, set: network } }],
  });
const into = (name: string) => layer(name, { direction: "ingress", rest: [{ peer: { family: 4, set: "m4" } }] });

const before = ruleset({
  classes: { 101: { egress: ["out1"], ingress: ["in1"] } },
  layers: [out("out1", "b1"), into("in1")],
  memberSets: [members("m4", 4, "10.4.1.2", "10.4.1.3"), members("old4", 4)],
  blockSets: [blocks("b1", "10.0.0.0/8", "203.0.113.0/24")],
});
const after = ruleset({
  classes: { 101: { egress: ["out2"], ingress: ["in1", "in2"] }, 102: {} },
  layers: [out("out2", "b2"), into("in1"), into("in2")],
  memberSets: [members("m4", 4, "10.4.1.3", "10.4.1.4"), members("new4", 4, "10.4.1.9")],
  blockSets: [blocks("b2", "11.0.0.0/8", "203.0.113.0/24")],
});

void test("members go first; networks come, then what classes are led to, then classes, members, and last the end of what was", () => {
  const twoLayers = [...policyImage(after).chains.keys()].find((name) => name.startsWith("class."));
  const steps = stepsBetween(before, after);
  const boths =
    steps[2]?.filter((one) => one.startsWith("+chain both.")).map((one) => one.slice("+chain ".length)) ?? [];
  assert.equal(boths.length, 2);
  assert.deepEqual(steps, [
    ["-in m4"],
    ["+set b2", "+in b2"],
    [
      "+counter out2.deny",
      "+counter in2.deny",
      "+set new4",
      "+set out2.ports",
      "+chain out2",
      "+chain out2.0",
      "+chain out2.rest",
      "+chain in2",
      `+chain ${twoLayers}`,
      ...boths.map((name) => `+chain ${name}`),
      "+in out2.ports",
      "+in new4",
      "+rule out2",
      "+rule out2.0",
      "+rule out2.rest",
      "+rule in2",
      `+rule ${twoLayers}`,
      ...boths.map((name) => `+rule ${name}`),
    ],
    ["-in egress_classes", "+in egress_classes", "-in ingress_classes", "+in ingress_classes"],
    ["-in egress_classes", "+in egress_classes", "-in ingress_classes", "+in ingress_classes"],
    ["+in m4"],
    [
      ...boths.map((name) => `-rules ${name}`),
      "-rules out1",
      "-rules out1.0",
      "-rules out1.rest",
      "-set b1",
      "-set old4",
      "-set out1.ports",
      ...boths.map((name) => `-chain ${name}`),
      "-chain out1",
      "-chain out1.0",
      "-chain out1.rest",
      "-counter out1.deny",
    ],
  ]);
});

void test("a network alone is no set", () => {
  const alone = { ...before, blockSets: new Map([["b1", blocks("b1", "10.0.0.0/8")]]) };
  const layers = new Map([...alone.layers].map(([name, one]) => [name, { ...one }])); // others than those of `before`
  const made = stepsBetween(undefined, { ...alone, layers }).flat();
  assert.ok(made.includes("+rule out1.rest"));
  assert.deepEqual(
    made.filter((one) => one.endsWith(" b1")),
    [],
  );
});

void test("where one direction changes, classes are switched at once; new ones come at any time", () => {
  const { classes, ...rest } = { classes: before.classes, layers: before.layers };
  assert.ok(classes.size > 0);
  const parts = {
    ...rest,
    layers: [...before.layers.values()],
    memberSets: [...before.memberSets.values()],
    blockSets: [...before.blockSets.values()],
  };
  const open = ruleset({ ...parts, classes: { 101: { egress: ["out1"] } } });
  assert.deepEqual(stepsBetween(before, open), [["-in ingress_classes", "+in ingress_classes"]]);
  const more = ruleset({
    ...parts,
    classes: { 101: { egress: ["out1"], ingress: ["in1"] }, 102: { ingress: ["in1"] } },
  });
  assert.deepEqual(stepsBetween(before, more), [["+in egress_classes", "+in ingress_classes"]]);
  assert.deepEqual(stepsBetween(more, before), [["-in egress_classes", "-in ingress_classes"]]);
});

void test("what is the same is left as it is", () => {
  for (const one of [emptyRuleset, fullRuleset, before]) {
    assert.deepEqual(stepsBetween(one, one), []);
    assert.deepEqual(stepsBetween(one, structuredClone(one)), []);
  }
});

void test("where there is no table, networks go ahead and all the rest comes at once", () => {
  const [networks, rest, ...more] = stepsBetween(undefined, before);
  assert.deepEqual(networks, ["+table", "+set b1", "+in b1"]);
  assert.deepEqual(more, []);
  const order = ["+counter", "+set", "+chain", "+in", "+rule"];
  const own = (rest ?? []).slice(1).filter((one) => !one.includes("__")); // rules bring sets without a name along
  const kinds = own.map((one) => order.indexOf(one.split(" ")[0] ?? ""));
  assert.deepEqual(
    kinds,
    kinds.toSorted((a, b) => a - b),
    "each after what it names",
  );
  assert.ok(rest?.includes("+rule forward") === true && rest.includes("+in egress_classes"));
  assert.equal(stepsBetween(undefined, emptyRuleset).length, 1);
});

void test("where something is not as we make it, all of it is made anew in one batch", () => {
  const image = policyImage(before);
  const state = stateOf(image);
  const [name, shape] = [...state.chains].at(-1) ?? assert.fail();
  const damaged = { ...state, chains: new Map([...state.chains, [name, { ...shape, rules: [] }]]) };
  const [step, ...more] = policySteps(damaged, image).map(({ messages }) => inWords(messages));
  assert.deepEqual(more, []);
  assert.deepEqual(step?.slice(0, 3), ["+table", "-table", "+table"]);
  assert.ok(step.includes("+set b1") && step.includes("+rule forward"));
});

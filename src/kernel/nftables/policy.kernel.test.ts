// The policy table in a real kernel: nft as the independent reader of what was loaded, drift made by nft, others who commit meanwhile.

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeNetns, type TestNetns } from "../../../test/netns.ts";
import { type NftCall, openNftCall } from "../../../test/nft-call.ts";
import { blocks, emptyRuleset, fullRuleset, layer, members, ruleset } from "../../../test/policy-rulesets.ts";
import type { PolicyRuleset } from "../../policy/ruleset.ts";
import type { PolicyTable } from "../contract.ts";
import { createSequence, splitMessages } from "../netlink/message.ts";
import { batchMessage } from "./constants.ts";
import { createPolicyTable } from "./policy.ts";
import { policyTable } from "./policy-image.ts";
import { tableText } from "./table-text.ts";

const open = (call: NftCall): PolicyTable => createPolicyTable({ call, nextSequence: createSequence() });

const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);

/** nft's listing without handles, objects and elements in one order. */
function nftJson(netns: TestNetns): unknown {
  return JSON.parse(netns.run("nft", "-j", "list", "ruleset"), (key, value: unknown) => {
    if (key === "handle") return undefined;
    if (!Array.isArray(value)) return value;
    const list: unknown[] = value;
    if (key === "set" || key === "elem") return list.toSorted(byText);
    if (key !== "nftables") return list;
    const isRule = (one: unknown): boolean => typeof one === "object" && one !== null && "rule" in one;
    const chainOf = (one: unknown): string => /"chain":"([^"]*)"/.exec(JSON.stringify(one))?.[1] ?? "";
    const rules = list
      .filter(isRule)
      .toSorted((a, b) => (chainOf(a) < chainOf(b) ? -1 : chainOf(a) > chainOf(b) ? 1 : 0));
    return [...list.filter((one) => !isRule(one)).toSorted(byText), ...rules];
  });
}

/** The rule machine's program, chain by chain, and the elements of sets, as nft reads them back. */
function nftProgram(netns: TestNetns): string[] {
  const lines = netns.run("nft", "--debug=netlink", "list", "table", "inet", "fairlead-policy").split("\n");
  return lines
    .filter((line) => /^(  \[|\telement)/.test(line))
    .map((line) => line.replace(/__(set|map)\d+/, "__$1").replace(/  userdata = .*/, ""))
    .sort();
}

const rulesets: Record<string, PolicyRuleset> = { "no policy": emptyRuleset, "some of everything": fullRuleset };

for (const [name, one] of Object.entries(rulesets)) {
  void test(`what is loaded is what nft loads from the same text: ${name}`, async (t) => {
    const [ours, theirs] = [makeNetns(t), makeNetns(t)];
    assert.equal(await open(openNftCall(t, ours)).ensure(one), true);
    theirs.run("nft", tableText(policyTable(one)));
    assert.deepEqual(nftJson(ours), nftJson(theirs));
    assert.deepEqual(nftProgram(ours), nftProgram(theirs));
    assert.ok(nftProgram(ours).length > 50);
  });
}

const table = "inet fairlead-policy";
const drifts: Record<string, string[]> = {
  "all rules flushed": [`flush table ${table}`],
  "one chain flushed": [`flush chain ${table} forward`],
  "a layer flushed": [`flush chain ${table} np_db`],
  "a rule put before ours": [`insert rule ${table} forward accept`],
  "a rule put after ours": [`add rule ${table} np_web.0 return`],
  "a chain of somebody else": [`add chain ${table} more { type filter hook forward priority -10; policy drop; }`],
  "the policy turned": [`chain ${table} forward { policy drop; }`],
  "the table put to sleep": [`add table ${table} { flags dormant; }`],
  "the table deleted": [`delete table ${table}`],
  "every table deleted": ["flush ruleset"],
  "another table under the name": [`delete table ${table}`, `add table ${table}`],
  "a set of somebody else": [`add set ${table} more { type ipv4_addr; }`],
  "a counter of somebody else": [`add counter ${table} more`],
  "a member deleted": [`delete element ${table} m_db4 { 10.4.1.3 }`],
  "a member added": [`add element ${table} m_db6 { fd00::66 }`],
  "a set of members flushed": [`flush set ${table} m_http4`],
  "a link more": [`add element ${table} self { "fl9" . "fl9" }`],
  "a class opened": [
    `delete element ${table} egress_classes { 102 }; add element ${table} egress_classes { 102 : accept }`,
  ],
  "a class led elsewhere": [
    `delete element ${table} ingress_classes { 103 }; add element ${table} ingress_classes { 103 : goto deny }`,
  ],
  "a class gone": [`delete element ${table} node_classes { 104 }`],
  "a class more": [`add element ${table} egress_classes { 200 : return }`],
  "what judges the node gone": [`flush chain ${table} input; delete chain ${table} input`],
  "a layer's networks changed while no rule looked": [
    `flush table ${table}`,
    `add element ${table} b_out4 { 64.0.0.0/2 }`,
  ],
  "a set of another kind under the name": [
    `flush table ${table}`,
    `delete set ${table} b_out6; add set ${table} b_out6 { type ipv6_addr; }`,
  ],
};

for (const [name, commands] of Object.entries(drifts)) {
  void test(`ensure repairs: ${name}`, async (t) => {
    const netns = makeNetns(t);
    const policy = open(openNftCall(t, netns));
    await policy.ensure(fullRuleset);
    const right = nftJson(netns);
    for (const command of commands) netns.run("nft", command);
    assert.equal(await policy.ensure(fullRuleset), true);
    assert.deepEqual(nftJson(netns), right);
    assert.equal(await policy.ensure(fullRuleset), false);
    assert.equal(await open(openNftCall(t, netns)).ensure(fullRuleset), false, "another reader finds the same");
  });
}

/** What stays where a table is changed and not made anew. */
const handleOf = (netns: TestNetns): string =>
  /fairlead-policy \{ # handle (\d+)/.exec(netns.run("nft", "-a", "list", "ruleset"))?.[1] ?? assert.fail();

void test("what a rule looks at nobody else can change", async (t) => {
  const netns = makeNetns(t);
  await open(openNftCall(t, netns)).ensure(fullRuleset);
  for (const change of [
    `add element ${table} b_out4 { 192.0.2.0/24 }`,
    `delete element ${table} b_out4 { 203.0.113.0/24 }`,
    `flush set ${table} b_out4`,
    `add element ${table} np_web.ports { tcp . 22 : return }`,
    `delete element ${table} np_web.ports { tcp . 443 }`,
  ]) {
    assert.throws(() => netns.run("nft", change), /busy/, change);
  }
});

void test("networks that a new layer shares with one that somebody flushed are not believed", async (t) => {
  const netns = makeNetns(t);
  const sharing = (name: string) =>
    ruleset({
      classes: { 101: { egress: [name] } },
      layers: [layer(name, { rest: [{ peer: { family: 4, set: "b4" } }] })],
      blockSets: [blocks("b4", "10.0.0.0/8", "172.16.0.0/12")],
    });
  await open(openNftCall(t, netns)).ensure(sharing("one"));
  netns.run("nft", `flush chain ${table} one`);
  netns.run("nft", `add element ${table} b4 { 64.0.0.0/2 }`);
  assert.equal(await open(openNftCall(t, netns)).ensure(sharing("two")), true);
  const fresh = makeNetns(t);
  await open(openNftCall(t, fresh)).ensure(sharing("two"));
  assert.deepEqual(nftJson(netns), nftJson(fresh));
});

void test("what others change elsewhere does not make an edit of policy a load of all of it", async (t) => {
  const netns = makeNetns(t);
  const sharing = (name: string) =>
    ruleset({
      classes: { 101: { egress: [name] } },
      layers: [layer(name, { rest: [{ peer: { family: 4, set: "b4" } }] })],
      blockSets: [blocks("b4", "10.0.0.0/8")],
    });
  const policy = open(openNftCall(t, netns));
  await policy.ensure(sharing("one"));
  const before = handleOf(netns);
  netns.run("nft", "add table inet other");
  assert.equal(await policy.ensure(sharing("two")), true);
  assert.equal(handleOf(netns), before);
});

void test("an agent that starts finds what the one before it left, and changes what is another", async (t) => {
  const netns = makeNetns(t);
  await open(openNftCall(t, netns)).ensure(fullRuleset);
  const before = handleOf(netns);
  const policy = open(openNftCall(t, netns));
  assert.equal(await policy.ensure(emptyRuleset, "as left"), true);
  assert.equal(await policy.ensure(fullRuleset, "as left"), true);
  assert.equal(handleOf(netns), before, "the table was not loaded anew");
  const fresh = makeNetns(t);
  await open(openNftCall(t, fresh)).ensure(fullRuleset);
  assert.deepEqual(nftJson(netns), nftJson(fresh), "nothing is left of what was");
});

void test("where others were here meanwhile, what was left is not believed for long", async (t) => {
  const netns = makeNetns(t);
  const policy = open(openNftCall(t, netns));
  await policy.ensure(fullRuleset);
  netns.run("nft", `delete element ${table} m_db4 { 10.4.1.3 }`);
  await policy.change({ remove: new Map([["m_db4", members("m_db4", 4, "10.4.1.3").parts.flat()]]) });
  assert.deepEqual([policy.wasMissed(), policy.wasMissed()], [true, false], "an element, told once");
  netns.run("nft", `delete table ${table}`);
  assert.equal(await policy.ensure(fullRuleset, "as left"), true);
  assert.equal(policy.wasMissed(), false, "nothing was believed");
  netns.run("nft", `delete table ${table}`);
  assert.equal(await policy.ensure(emptyRuleset, "as left"), true);
  assert.equal(policy.wasMissed(), true, "the table");
  assert.equal(await policy.ensure(emptyRuleset), false);
});

void test("other tables are left alone", async (t) => {
  const netns = makeNetns(t);
  netns.run("nft", "table inet fairlead { set self { type ipv4_addr; }; chain forward { accept; }; }");
  netns.run("nft", "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }");
  const before = netns.run("nft", "list", "ruleset");
  const policy = open(openNftCall(t, netns));
  await policy.ensure(fullRuleset);
  await policy.ensure(emptyRuleset);
  await policy.prune();
  assert.equal(netns.run("nft", "list", "ruleset"), before);
});

const intrusions = [`flush table ${table}`, `add rule ${table} forward accept`, `delete table ${table}`];

for (const intrusion of intrusions) {
  void test(`ensure sees what others do between its reading and its change: ${intrusion}`, async (t) => {
    const netns = makeNetns(t);
    await open(openNftCall(t, netns)).ensure(fullRuleset);
    const call = openNftCall(t, netns);
    let batches = 0;
    const intruded: NftCall = (request) => {
      if (splitMessages(request)[0]?.type === batchMessage.begin && ++batches === 1) netns.run("nft", intrusion);
      return call(request);
    };
    await open(intruded).ensure(emptyRuleset);
    assert.ok(batches > 1, "the first change was refused");
    assert.equal(await open(openNftCall(t, netns)).ensure(emptyRuleset), false);
  });
}

void test("others who commit all the time delay nobody for ever", async (t) => {
  const netns = makeNetns(t);
  const call = openNftCall(t, netns);
  const disturbed: NftCall = (request) => {
    netns.run("nft", "add table inet other; delete table inet other");
    return call(request);
  };
  await open(call).ensure(emptyRuleset);
  assert.equal(await open(disturbed).ensure(fullRuleset), true);
  assert.equal(await open(call).ensure(fullRuleset), false);
});

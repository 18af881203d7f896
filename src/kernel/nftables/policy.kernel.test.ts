// The policy table in a real kernel: nft as the independent reader of what was loaded, drift made by nft, others who commit meanwhile.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { makeNetns, type TestNetns } from "../../../test/netns.ts";
import { emptyRuleset, fullRuleset } from "../../../test/policy-rulesets.ts";
import type { PolicyRuleset } from "../../policy/ruleset.ts";
import { loadAddon } from "../addon.ts";
import type { PolicyTable } from "../contract.ts";
import { createSequence } from "../netlink/message.ts";
import { createPolicyTable } from "./policy.ts";
import { policyTable } from "./policy-image.ts";
import { tableText } from "./table-text.ts";

const netfilterLane = 1;
const netlinkNetfilter = 12;
const callTimeoutMs = 10_000;

type Call = (request: Uint8Array) => Promise<Buffer>;

function openCall(t: TestContext, netns: TestNetns): Call {
  const addon = loadAddon();
  const namespace = addon.openNetns(netns.path);
  const socket = addon.openNetlink(namespace, netlinkNetfilter);
  t.after(() => {
    addon.close(socket);
    addon.close(namespace);
  });
  return (request) => addon.call(netfilterLane, socket, request, callTimeoutMs);
}

const open = (call: Call): PolicyTable => createPolicyTable({ call, nextSequence: createSequence() });

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
    assert.equal(await open(openCall(t, ours)).ensure(one), true);
    theirs.run("nft", tableText(policyTable(one)));
    assert.deepEqual(nftJson(ours), nftJson(theirs));
    assert.deepEqual(nftProgram(ours), nftProgram(theirs));
    assert.ok(nftProgram(ours).length > 50);
  });
}

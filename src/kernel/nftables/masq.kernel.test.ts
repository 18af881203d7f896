// Masquerade in a real kernel: nft as the independent reader of what was loaded, drift made by nft, others who commit meanwhile.

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeNetns, type TestNetns } from "../../../test/netns.ts";
import { type NftCall, openNftCall } from "../../../test/nft-call.ts";
import { present } from "../../base/assert.ts";
import { parseCidr } from "../../net/cidr.ts";
import type { Masquerade, MasqueradePlan } from "../contract.ts";
import { createSequence, splitMessages } from "../netlink/message.ts";
import { batchMessage, nftMessage, setFlag } from "./constants.ts";
import { createMasquerade } from "./masq.ts";
import { masqTable } from "./masq-table.ts";
import { familyHeaderLen } from "./messages.ts";
import { tableText } from "./table-text.ts";

const open = (call: NftCall): Masquerade => createMasquerade({ call, nextSequence: createSequence() });

const cidr = (text: string) => present(parseCidr(text), text);
const cidrs = (...texts: string[]) => texts.map(cidr);

/** Two ranges where there could be one: nft makes a comparison of a set of one. */
const plan: MasqueradePlan = {
  from: cidrs("10.4.1.0/24", "10.9.0.0/26", "fd00:10:4:1::/64", "fd00:10:9::/112"),
  keep: cidrs("10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "203.0.113.7/32", "fe80::/10", "fd00::/8"),
  ports: [],
  randomFully: true,
};

const plans: Record<string, MasqueradePlan> = {
  "the kernel's own ports": plan,
  "ports as they are": { ...plan, randomFully: false },
  "one port": { ...plan, ports: [{ first: 4000, last: 4000 }] },
  "ports in a range, not at random": { ...plan, ports: [{ first: 4000, last: 4999 }], randomFully: false },
  "ports in three ranges": {
    ...plan,
    ports: [
      { first: 1024, last: 29_999 },
      { first: 32_768, last: 60_000 },
      { first: 65_000, last: 65_000 },
    ],
  },
  "ranges that reach both ends": {
    ...plan,
    keep: cidrs("0.0.0.0/8", "10.1.0.0/16", "10.4.0.0/15", "240.0.0.0/4", "fd00::/8", "ff00::/8"),
  },
};

/** nft's listing without handles, with sets and their elements in one order. */
function nftJson(netns: TestNetns): unknown {
  return JSON.parse(netns.run("nft", "-j", "list", "ruleset"), (key, value: unknown) => {
    if (key === "handle") return undefined;
    if (!Array.isArray(value)) return value;
    const list: unknown[] = value;
    if (key === "set") return list.toSorted(byText);
    if (key !== "nftables") return list;
    const isSet = (one: unknown): boolean => typeof one === "object" && one !== null && "set" in one;
    return [...list.filter(isSet).toSorted(byText), ...list.filter((one) => !isSet(one))];
  });
}

const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);

/** The rule machine's program and the elements of its sets, as nft reads them back; without the notes that it leaves to itself. */
function nftProgram(netns: TestNetns): string[] {
  const lines = netns.run("nft", "--debug=netlink", "list", "table", "inet", "fairlead-masq").split("\n");
  return lines
    .filter((line) => /^(  \[|\telement)/.test(line))
    .map((line) => line.replace(/__set\d+/, "__set").replace(/  userdata = .*/, ""))
    .map((line, index, all) => (line.includes("element") ? `0 ${line}` : `${all.length + index} ${line}`))
    .sort();
}

for (const [name, one] of Object.entries(plans)) {
  void test(`what is loaded is what nft loads from the same text: ${name}`, async (t) => {
    const [ours, theirs] = [makeNetns(t), makeNetns(t)];
    assert.equal(await open(openNftCall(t, ours)).ensure(one), true);
    theirs.run("nft", tableText(masqTable(one)));
    assert.deepEqual(nftJson(ours), nftJson(theirs));
    assert.deepEqual(nftProgram(ours), nftProgram(theirs));
    assert.ok(nftProgram(ours).length > 30);

    const changed = makeNetns(t);
    const masquerade = open(openNftCall(t, changed));
    await masquerade.ensure({ ...plan, from: [], keep: [] });
    await masquerade.ensure(one);
    assert.deepEqual(nftJson(changed), nftJson(theirs), "changed to it from another plan");
  });
}

void test("ranges that touch or overlap are one; nobody adds to ours, nor takes from them", async (t) => {
  const netns = makeNetns(t);
  const keep = cidrs("10.1.0.0/16", "10.2.0.0/16", "10.2.7.0/24", "10.4.0.0/15");
  await open(openNftCall(t, netns)).ensure({ ...plan, keep });
  assert.match(netns.run("nft", "list", "ruleset"), /elements = \{ 10\.1\.0\.0-10\.2\.255\.255, 10\.4\.0\.0\/15 \}/);
  const set = masqTable({ ...plan, keep }).constants?.at(-1)?.name ?? assert.fail();
  for (const change of ["add", "delete"]) {
    assert.throws(() => netns.run("nft", `${change} element inet fairlead-masq ${set} { 10.4.0.0/15 }`), /busy/);
  }
});

/** Attributes of a message by number. */
function attributes(body: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = familyHeaderLen; at < body.length;) {
    const length = body.readUInt16LE(at);
    found.set(body.readUInt16LE(at + 2) & 0x3fff, body.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

void test("no set of ranges comes in one batch with rules: they would find it empty", async (t) => {
  const call = openNftCall(t, makeNetns(t));
  const batches: string[] = [];
  const watched: NftCall = (request) => {
    const messages = splitMessages(request);
    const isRanges = ({ type, body }: (typeof messages)[number]): boolean =>
      type === nftMessage.newSet && ((attributes(body).get(3)?.readUInt32BE() ?? 0) & setFlag.interval) !== 0;
    const parts = [
      ...(messages.some(isRanges) ? ["ranges"] : []),
      ...(messages.some(({ type }) => type === nftMessage.newRule) ? ["rules"] : []),
    ];
    if (parts.length > 0) batches.push(parts.join(" and "));
    return call(request);
  };
  const masquerade = open(watched);
  await masquerade.ensure(plan);
  await masquerade.ensure({ ...plan, keep: plan.keep.slice(1) });
  assert.deepEqual(batches, ["ranges", "rules", "ranges", "rules"]);
});

/** What stays where a table is changed and not made anew. */
const handleOf = (netns: TestNetns): string =>
  present(/table inet fairlead-masq \{ # handle (\d+)/.exec(netns.run("nft", "-a", "list", "ruleset"))?.[1], "handle");

void test("another plan changes rules and keeps table and chains", async (t) => {
  const netns = makeNetns(t);
  const masquerade = open(openNftCall(t, netns));
  await masquerade.ensure(plan);
  const before = handleOf(netns);
  for (const other of Object.values(plans)) await masquerade.ensure(other);
  assert.equal(handleOf(netns), before);
  assert.equal(netns.run("nft", "list", "sets").match(/set /g)?.length, 4, "no set outlives its rules");
});

const table = "inet fairlead-masq";
const keptSet = masqTable(plan).constants?.find(({ key }) => key === "ip daddr")?.name ?? assert.fail();
const drifts: Record<string, string[]> = {
  "all rules flushed": [`flush table ${table}`],
  "one chain flushed": [`flush chain ${table} leaving`],
  "a rule put before ours": [`insert rule ${table} postrouting accept`],
  "a rule put after ours": [`add rule ${table} leaving accept`],
  "a chain of somebody else": [`add chain ${table} more { type filter hook input priority 0; }`],
  "the policy turned": [`chain ${table} postrouting { policy drop; }`],
  "the table put to sleep": [`add table ${table} { flags dormant; }`],
  "the table deleted": [`delete table ${table}`],
  "every table deleted": ["flush ruleset"],
  "another table under the name": [`delete table ${table}`, `add table ${table}`],
  "a set of somebody else": [`add set ${table} more { type ipv4_addr; }`],
  "a set of ours missing": [`flush table ${table}`, `delete set ${table} ${keptSet}`],
  "another content under the name of a set of ours": [
    `flush table ${table}`,
    `delete set ${table} ${keptSet}`,
    `add set ${table} ${keptSet} { type ipv4_addr; flags constant,interval; elements = { 10.0.0.0/8 }; }`,
  ],
  "a chain of another kind under the name": [
    `delete table ${table}`,
    `table ${table} { chain leaving {}; chain postrouting { type filter hook postrouting priority 110; }; }`,
  ],
};

for (const [name, commands] of Object.entries(drifts)) {
  void test(`ensure repairs: ${name}`, async (t) => {
    const netns = makeNetns(t);
    const masquerade = open(openNftCall(t, netns));
    await masquerade.ensure(plan);
    const right = nftJson(netns);
    for (const command of commands) netns.run("nft", command);
    assert.equal(await masquerade.ensure(plan), true);
    assert.deepEqual(nftJson(netns), right);
    assert.equal(await masquerade.ensure(plan), false);
  });
}

void test("other tables are left alone", async (t) => {
  const netns = makeNetns(t);
  netns.run("nft", "table ip nat { chain POSTROUTING { type nat hook postrouting priority 100; masquerade; }; }");
  netns.run("nft", "table inet fairlead { chain postrouting { accept; }; }");
  const before = netns.run("nft", "list", "ruleset");
  const masquerade = open(openNftCall(t, netns));
  await masquerade.ensure(plan);
  await masquerade.ensure({ ...plan, keep: [] });
  await masquerade.prune();
  assert.equal(netns.run("nft", "list", "ruleset"), before);
});

const intrusions = [
  "flush table inet fairlead-masq",
  "add rule inet fairlead-masq leaving accept",
  "delete table inet fairlead-masq",
];

for (const intrusion of intrusions) {
  void test(`ensure sees what others do between its reading and its change: ${intrusion}`, async (t) => {
    const netns = makeNetns(t);
    await open(openNftCall(t, netns)).ensure(plan);
    const call = openNftCall(t, netns);
    let batches = 0;
    const intruded: NftCall = (request) => {
      if (splitMessages(request)[0]?.type === batchMessage.begin && ++batches === 1) netns.run("nft", intrusion);
      return call(request);
    };
    const wanted = { ...plan, keep: [] };
    await open(intruded).ensure(wanted);
    const fresh = intrusion.startsWith("delete") ? 2 : 1; // batches that a new reading leads to
    assert.equal(batches, 1 + fresh, "the first change was refused");
    assert.equal(await open(openNftCall(t, netns)).ensure(wanted), false);
  });
}

void test("others who commit all the time delay nobody for ever", async (t) => {
  const netns = makeNetns(t);
  const call = openNftCall(t, netns);
  const disturbed: NftCall = (request) => {
    netns.run("nft", "add table inet other; delete table inet other");
    removals += splitMessages(request).filter(({ type }) => type === nftMessage.deleteTable).length;
    return call(request);
  };
  let removals = 0;
  await open(call).ensure({ ...plan, keep: [] });
  assert.equal(await open(disturbed).ensure(plan), true);
  assert.equal(await open(disturbed).ensure(plan), false, "it is right");
  assert.equal(removals, 0, "the table was there all the time");
  assert.equal(await open(call).ensure(plan), false);
});

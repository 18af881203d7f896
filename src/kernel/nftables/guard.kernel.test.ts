// The guard in a real kernel: nft as the independent reader of what was loaded, drift made by nft, and the real message limits.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { makeNetns, type TestNetns } from "../../../test/netns.ts";
import { type NftCall, openNftCall } from "../../../test/nft-call.ts";
import { present } from "../../base/assert.ts";
import { parseIp } from "../../net/ip.ts";
import type { Guard, GuardEntry } from "../contract.ts";
import { createSequence, messageFlag, splitMessages } from "../netlink/message.ts";
import { batchMessage, nftMessage } from "./constants.ts";
import { createGuard } from "./guard.ts";
import { guardTable } from "./guard-table.ts";
import { tableText } from "./table-text.ts";

function openGuard(t: TestContext, netns: TestNetns): Guard {
  return createGuard({ call: openNftCall(t, netns), nextSequence: createSequence() });
}

const entry = (link: string, text: string): GuardEntry => ({ link, address: present(parseIp(text), text) });

const entries = [
  entry("fl0123456789abc", "10.244.0.11"),
  entry("fl0123456789abc", "fd00:10::11"),
  entry("fl1", "10.244.0.12"),
];

/** In an order of its own, since sets have none. */
function sorted(list: readonly GuardEntry[] | undefined): string[] | undefined {
  return list?.map(({ link, address }) => `${link} ${address}`).toSorted();
}

function pods(count: number): GuardEntry[] {
  return Array.from({ length: count }, (_, index) => [
    entry(`fl${index}`, `10.${128 + (index >> 8)}.${index & 255}.7`),
    entry(`fl${index}`, `fd00::${(index + 1).toString(16)}`),
  ]).flat();
}

/** nft's listing without what differs between two tables that say the same: handles, the order of set elements, the comment (nft 1.0.6 keeps none in JSON). */
function nftJson(netns: TestNetns): unknown {
  return JSON.parse(netns.run("nft", "-j", "list", "ruleset"), (key, value: unknown) => {
    if (key === "handle") return undefined;
    if (key !== "elem" && key !== "set") return value;
    return Array.isArray(value) ? value.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : value;
  });
}

/** The rule machine's program as nft reads it back, without the numbers of anonymous sets. */
function nftProgram(netns: TestNetns): string[] {
  const lines = netns.run("nft", "--debug=netlink", "list", "table", "inet", "fairlead").split("\n");
  return lines.filter((line) => line.startsWith("  [")).map((line) => line.replace(/__set\d+/, "__set"));
}

void test("what is loaded is what nft loads from the same text, and its JSON loads again", async (t) => {
  const [ours, theirs] = [makeNetns(t), makeNetns(t)];
  assert.equal(await openGuard(t, ours).ensure(entries), true);
  theirs.run("nft", tableText(guardTable));
  theirs.run("nft", 'add element inet fairlead ok4 { "fl0123456789abc" . 10.244.0.11, "fl1" . 10.244.0.12 }');
  theirs.run("nft", 'add element inet fairlead ok6 { "fl0123456789abc" . fd00:10::11 }');
  assert.deepEqual(nftJson(ours), nftJson(theirs));
  assert.deepEqual(nftProgram(ours), nftProgram(theirs));
  assert.equal(nftProgram(ours).length, 33);

  const saved = ours.run("nft", "-j", "list", "ruleset");
  const again = makeNetns(t);
  again.run("sh", "-c", `printf %s '${saved}' | nft -j -f -`);
  assert.deepEqual(nftJson(again), nftJson(theirs));
});

void test("ensure loads, then finds nothing to do, then changes only elements", async (t) => {
  const netns = makeNetns(t);
  const guard = openGuard(t, netns);
  assert.equal(await guard.list(), undefined);
  assert.equal(await guard.ensure(entries), true);
  assert.deepEqual(sorted(await guard.list()), sorted(entries));
  assert.equal(await guard.ensure(entries.toReversed()), false);
  const handle = /table inet fairlead \{ # handle (\d+)/;
  const before = handle.exec(netns.run("nft", "-a", "list", "ruleset"))?.[1];
  const others = [...entries.slice(1), entry("fl2", "10.0.0.2")];
  assert.equal(await guard.ensure(others), true);
  assert.deepEqual(sorted(await guard.list()), sorted(others));
  assert.equal(handle.exec(netns.run("nft", "-a", "list", "ruleset"))?.[1], before, "the table was not loaded again");
  assert.equal(await guard.ensure([]), true);
  assert.deepEqual(await guard.list(), []);
});

const drifts: Record<string, string[]> = {
  "all rules flushed": ["flush table inet fairlead"],
  "one chain flushed": ["flush chain inet fairlead guard"],
  "a rule put before ours": ["insert rule inet fairlead guard accept"],
  "a rule put after ours": ["add rule inet fairlead guard_pod accept"],
  "a rule replaced by an equal text": ['replace rule inet fairlead guard handle RULE iifname "fl*" jump guard_pod'],
  "a chain of somebody else": ["add chain inet fairlead more { type filter hook input priority 0; }"],
  "the policy turned": ["chain inet fairlead guard { policy drop; }"],
  "the table put to sleep": ["add table inet fairlead { flags dormant; }"],
  "an element deleted": ['delete element inet fairlead ok4 { "fl1" . 10.244.0.12 }'],
  "an element added": ['add element inet fairlead ok6 { "fl1" . fd00::66 }'],
  "a set flushed": ["flush set inet fairlead ok6"],
  "the table deleted": ["delete table inet fairlead"],
  "every table deleted": ["flush ruleset"],
  "another table under the name": ["delete table inet fairlead", "add table inet fairlead"],
  "sets of another type under our names": [
    "delete table inet fairlead",
    "table inet fairlead { set ok4 { type ipv4_addr; elements = { 10.0.0.1 }; }; set ok6 { type ipv6_addr; }; }",
  ],
};

for (const [name, commands] of Object.entries(drifts)) {
  void test(`ensure repairs: ${name}`, async (t) => {
    const netns = makeNetns(t);
    const guard = openGuard(t, netns);
    await guard.ensure(entries);
    const right = nftJson(netns);
    const rule = /jump guard_pod # handle (\d+)/.exec(netns.run("nft", "-a", "list", "ruleset"))?.[1] ?? "";
    for (const command of commands) netns.run("nft", command.replace("RULE", rule));
    assert.equal(await guard.ensure(entries), true);
    assert.deepEqual(nftJson(netns), right);
    assert.equal(await guard.ensure(entries), false);
  });
}

void test("other tables are left alone", async (t) => {
  const netns = makeNetns(t);
  netns.run("nft", "table inet other { chain fairlead { type filter hook input priority 0; drop; }; }");
  netns.run("nft", "table ip fairlead { chain guard { accept; }; }");
  const before = netns.run("nft", "list", "ruleset");
  const guard = openGuard(t, netns);
  await guard.ensure(entries);
  assert.equal(await guard.ensure(entries), false);
  await guard.prune();
  assert.equal(netns.run("nft", "list", "ruleset"), before);
});

void test("admit and withdraw may be repeated", async (t) => {
  const guard = openGuard(t, makeNetns(t));
  await assert.rejects(guard.admit(entries), { code: "kernel-missing" });
  await guard.withdraw(entries);
  await guard.ensure([]);
  await guard.admit(entries);
  await guard.admit(entries);
  assert.deepEqual(sorted(await guard.list()), sorted(entries));
  await guard.withdraw([entries[0] ?? assert.fail(), entry("fl9", "10.9.9.9"), entry("fl9", "fd00::9")]);
  await guard.withdraw([entries[0] ?? assert.fail()]);
  assert.deepEqual(sorted(await guard.list()), sorted(entries.slice(1)));
  await guard.admit([]);
  await guard.withdraw([]);
});

void test("prune removes the table, and none is no error", async (t) => {
  const guard = openGuard(t, makeNetns(t));
  await guard.prune();
  await guard.ensure(entries);
  await guard.prune();
  assert.equal(await guard.list(), undefined);
});

void test("1,024 pods with two addresses each: loaded, compared, exchanged, withdrawn", async (t) => {
  const netns = makeNetns(t);
  const guard = openGuard(t, netns);
  const all = pods(1024);
  assert.equal(await guard.ensure(all), true);
  assert.equal(await guard.ensure(all), false);
  assert.deepEqual(sorted(await guard.list()), sorted(all));
  assert.equal(netns.run("nft", "list", "set", "inet", "fairlead", "ok6").match(/fd00::/g)?.length, 1024);
  const moved = all.map(({ address }, index) => ({ link: `flm${index >> 1}`, address }));
  assert.equal(await guard.ensure(moved), true);
  assert.deepEqual(sorted(await guard.list()), sorted(moved));
  await guard.withdraw(moved);
  assert.deepEqual(await guard.list(), []);
  await guard.admit(all);
  assert.equal((await guard.list())?.length, all.length);
});

/** A kernel from before 6.3: it does not know the message that destroys elements, and says so as that one does. */
function oldKernel(call: NftCall): { call: NftCall; refusals: () => number } {
  let refusals = 0;
  const answer: NftCall = async (request) => {
    const unknown = splitMessages(request).find(({ type }) => type === nftMessage.destroyElements);
    if (unknown === undefined) return call(request);
    refusals += 1;
    return errorMessage(unknown.sequence, 22);
  };
  return { call: answer, refusals: () => refusals };
}

function errorMessage(sequence: number, errno: number): Buffer {
  const bytes = Buffer.alloc(36);
  bytes.writeUInt32LE(bytes.length);
  bytes.writeUInt16LE(2, 4);
  bytes.writeUInt16LE(messageFlag.capped, 6);
  bytes.writeUInt32LE(sequence, 8);
  bytes.writeInt32LE(-errno, 16);
  return bytes;
}

void test("withdraw without the message that destroys elements", async (t) => {
  const old = oldKernel(openNftCall(t, makeNetns(t)));
  const guard = createGuard({ call: old.call, nextSequence: createSequence() });
  await guard.withdraw(entries);
  await guard.ensure(entries);
  await guard.withdraw([entries[0] ?? assert.fail(), entry("fl9", "10.9.9.9")]);
  await guard.withdraw([entries[0] ?? assert.fail()]);
  assert.deepEqual(sorted(await guard.list()), sorted(entries.slice(1)));
  assert.equal(old.refusals(), 1, "the kernel was asked once");
});

void test("withdraw where a set is missing still takes what is in the other", async (t) => {
  const netns = makeNetns(t);
  netns.run("nft", 'table inet fairlead { set ok4 { type ifname . ipv4_addr; elements = { "fl1" . 10.0.0.1 }; }; }');
  const guard = openGuard(t, netns);
  await guard.withdraw([entry("fl1", "10.0.0.1"), entry("fl1", "fd00::1")]);
  assert.deepEqual(await guard.list(), []);
});

void test("others who commit all the time delay nobody for ever", async (t) => {
  const netns = makeNetns(t);
  const call = openNftCall(t, netns);
  // Before each request of the guard somebody changes another ruleset, so no reading is ever of the newest generation.
  const disturbed: NftCall = (request) => {
    netns.run("nft", "add table inet other; delete table inet other");
    return call(request);
  };
  const guard = createGuard({ call: disturbed, nextSequence: createSequence() });
  assert.equal(await guard.ensure(entries), true);
  assert.deepEqual(sorted(await openGuard(t, netns).list()), sorted(entries));
  assert.equal(await guard.ensure(entries), false, "it is right");
  await guard.admit([entry("fl7", "10.0.0.7")]);
  await guard.withdraw([entry("fl7", "10.0.0.7")]);
  const older = createGuard({ call: oldKernel(disturbed).call, nextSequence: createSequence() });
  await older.withdraw([entry("fl7", "10.0.0.7"), ...entries.slice(2)]);
  assert.deepEqual(sorted(await openGuard(t, netns).list()), sorted(entries.slice(0, 2)));
  assert.equal(await guard.ensure(entries.slice(1)), true);
  assert.deepEqual(sorted(await openGuard(t, netns).list()), sorted(entries.slice(1)));
});

const intrusions = [
  "flush chain inet fairlead guard",
  'add element inet fairlead ok4 { "fl9" . 10.9.9.9 }',
  'delete element inet fairlead ok4 { "fl1" . 10.244.0.12 }',
  "delete table inet fairlead",
];

for (const intrusion of intrusions) {
  void test(`ensure sees what others do between its reading and its repair: ${intrusion}`, async (t) => {
    const netns = makeNetns(t);
    await openGuard(t, netns).ensure(entries);
    const call = openNftCall(t, netns);
    let batches = 0;
    const intruded: NftCall = (request) => {
      if (splitMessages(request)[0]?.type === batchMessage.begin && ++batches === 1) netns.run("nft", intrusion);
      return call(request);
    };
    const wanted = [...entries.slice(0, 2), entry("fl5", "10.0.0.5")];
    await createGuard({ call: intruded, nextSequence: createSequence() }).ensure(wanted);
    assert.equal(batches, 2, "the first repair was refused, the second went by a new reading");
    assert.equal(await openGuard(t, netns).ensure(wanted), false);
  });
}

void test("ensure sees what others do while it reads and finds nothing wrong", async (t) => {
  const netns = makeNetns(t);
  await openGuard(t, netns).ensure(entries);
  const call = openNftCall(t, netns);
  let reads = 0;
  const intruded: NftCall = (request) => {
    const isRead = splitMessages(request)[0]?.type === nftMessage.getElements;
    // Both sets are read, ok4 first: what happens to it before the second reading is not seen by the first.
    if (isRead && ++reads === 2) netns.run("nft", "flush set inet fairlead ok4");
    return call(request);
  };
  assert.equal(await createGuard({ call: intruded, nextSequence: createSequence() }).ensure(entries), true);
  assert.deepEqual(sorted(await openGuard(t, netns).list()), sorted(entries));
});

void test("two guards of one namespace at the same time end in a table that is right", async (t) => {
  const netns = makeNetns(t);
  const guards = [openGuard(t, netns), openGuard(t, netns)];
  const rounds = Array.from({ length: 20 }, (_, round) => pods(20 + round));
  await Promise.all(guards.flatMap((guard) => rounds.map((wanted) => guard.ensure(wanted))));
  const last = rounds.at(-1) ?? assert.fail();
  assert.deepEqual(sorted(await guards[0]?.list()), sorted(last));
  assert.equal(await guards[1]?.ensure(last), false);
});

void test("calls take effect in the order in which they were made", async (t) => {
  const guard = openGuard(t, makeNetns(t));
  const late = entry("fl2", "10.0.0.2");
  await Promise.all([
    guard.ensure(entries),
    guard.admit([late]),
    guard.withdraw(entries),
    guard.ensure([late]),
    guard.admit(entries.slice(0, 1)),
  ]);
  assert.deepEqual(sorted(await guard.list()), sorted([late, ...entries.slice(0, 1)]));
});

// Choosing addresses: tables for the rules, properties against a plain model.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { present } from "../base/assert.ts";
import { isFault } from "../base/fault.ts";
import { testIp } from "../../test/store.contract.ts";
import { createAddressTally } from "../net/address-tally.ts";
import { type Cidr, cidrContains, cidrFamily, parseCidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import { gatewayOf, isUsable, unusableOf, usableAddresses, usableAt } from "./blocks.ts";
import { chooseAddress, chooseAddresses, cooled, emptyBook, lease, nextCooledInMs, unlease, usage } from "./leases.ts";

const cidr = (text: string): Cidr => present(parseCidr(text), text);

test("usable addresses of a block, and the one kept for a gateway", () => {
  const cases: [string, bigint, string[], string | undefined][] = [
    ["10.4.1.0/24", 253n, ["10.4.1.0", "10.4.1.1", "10.4.1.255"], "10.4.1.1"],
    ["10.4.1.8/29", 5n, ["10.4.1.8", "10.4.1.9", "10.4.1.15"], "10.4.1.9"],
    ["10.4.1.8/30", 2n, ["10.4.1.8", "10.4.1.11"], undefined],
    ["10.4.1.8/31", 2n, [], undefined],
    ["10.4.1.8/32", 1n, [], undefined],
    ["fd00:4:1::/64", 2n ** 64n - 2n, ["fd00:4:1::", "fd00:4:1::1"], "fd00:4:1::1"],
    ["fd00:4:1::8/125", 6n, ["fd00:4:1::8", "fd00:4:1::9"], "fd00:4:1::9"],
    ["fd00:4:1::/126", 3n, ["fd00:4:1::"], undefined],
    ["fd00:4:1::/127", 2n, [], undefined],
    ["fd00:4:1::5/128", 1n, [], undefined],
  ];
  for (const [text, count, kept, gateway] of cases) {
    assert.equal(usableAddresses(cidr(text)).count, count, text);
    assert.equal(gatewayOf(cidr(text)), gateway, text);
    const unusable = unusableOf(cidr(text));
    assert.deepEqual([...kept].sort(), [...unusable].sort(), text);
    for (const address of kept) assert.equal(isUsable(cidr(text), address as Ip), false, `${address} of ${text}`);
  }
});

test("next-fit: a released address rests until the block has come round", () => {
  const book = emptyBook([cidr("10.4.1.0/29")]);
  const take = (): Ip => {
    const address = chooseAddress(book, 4, 0);
    lease(book, address);
    return address;
  };
  assert.deepEqual([take(), take(), take()], ["10.4.1.2", "10.4.1.3", "10.4.1.4"]);
  unlease(book, "10.4.1.2" as Ip);
  assert.deepEqual([take(), take(), take()], ["10.4.1.5", "10.4.1.6", "10.4.1.2"]);
});

test("the oldest block is filled first", () => {
  const book = emptyBook([cidr("10.4.9.0/30"), cidr("10.4.1.0/30")]);
  const given = Array.from({ length: 4 }, () => {
    const address = chooseAddress(book, 4, 0);
    lease(book, address);
    return address;
  });
  assert.deepEqual(given, ["10.4.9.1", "10.4.9.2", "10.4.1.1", "10.4.1.2"]);
});

test("an empty pool says how many are in use, how many cool and when the next is free", () => {
  const book = emptyBook([cidr("10.4.1.0/30")]);
  lease(book, "10.4.1.1" as Ip);
  lease(book, "10.4.1.2" as Ip);
  unlease(book, "10.4.1.2" as Ip, 20_500);
  assert.equal(nextCooledInMs(book, 4, 7000), 13_500);
  assert.throws(
    () => chooseAddress(book, 4, 7000),
    (error) =>
      isFault(error, "pool-empty") && error.message.includes("1 in use, 1 cooling, next free in 14 s (10.4.1.0/30)"),
  );
  assert.throws(() => chooseAddress(book, 6, 7000), /no IPv6 block/);
});

test("a certain address is given while it is free, and refused with the reason", () => {
  const book = emptyBook([cidr("10.4.1.0/29"), cidr("fd00:4::/64")]);
  const ask = (...addresses: string[]): Ip[] =>
    chooseAddresses(book, { addresses: addresses.map((text) => testIp(text)), ranges: [] }, 7000);
  assert.deepEqual(ask("10.4.1.6"), ["10.4.1.6", "fd00:4::2"]);
  assert.deepEqual(ask("fd00:4::77", "10.4.1.2"), ["10.4.1.2", "fd00:4::77"]);
  lease(book, testIp("10.4.1.5"));
  unlease(book, testIp("10.4.1.4"), 20_500);
  assert.throws(() => ask("10.4.1.5"), isTaken(/10\.4\.1\.5 .* is in use/, undefined));
  assert.throws(() => ask("10.4.1.4"), isTaken(/10\.4\.1\.4 .* cools for 14 s more/, 13_500));
  for (const foreign of ["10.4.1.0", "10.4.1.1", "10.4.1.7", "10.4.2.2", "fd00:5::2"]) {
    assert.throws(
      () => ask(foreign),
      (error) => isFault(error, "unsupported-value") && error.message.includes(foreign),
    );
  }
  const v4only = emptyBook([cidr("10.4.1.0/29")]);
  assert.throws(
    () => chooseAddresses(v4only, { addresses: [testIp("fd00:4::2")], ranges: [] }, 0),
    (error) => isFault(error, "unsupported-value"),
  );
});

function isTaken(words: RegExp, nextFreeMs: number | undefined): (error: unknown) => boolean {
  return (error) =>
    isFault(error, "address-taken") && words.test(error.message) && error.data["nextFreeMs"] === nextFreeMs;
}

test("ranges narrow the choice: lowest first, what is taken passed over, ends and gateways never given", () => {
  const book = emptyBook([cidr("10.4.1.0/24"), cidr("fd00:4::/64")]);
  const take = (...ranges: [string, string][]): Ip[] => {
    const wanted = ranges.map(([first, last]) => ({ first: testIp(first), last: testIp(last) }));
    const chosen = chooseAddresses(book, { addresses: [], ranges: wanted }, 0);
    for (const address of chosen) lease(book, address);
    return chosen;
  };
  assert.deepEqual(take(["10.4.1.0", "10.4.1.3"]), ["10.4.1.2", "fd00:4::2"]);
  assert.deepEqual(take(["10.4.1.0", "10.4.1.3"], ["fd00:4::100", "fd00:4::1ff"]), ["10.4.1.3", "fd00:4::100"]);
  assert.throws(
    () => take(["10.4.1.0", "10.4.1.3"]),
    /no free IPv4 address on this node in 10\.4\.1\.0-10\.4\.1\.3: 2 in use/,
  );
  assert.equal(take(["10.4.1.0", "10.4.1.3"], ["10.4.1.250", "10.4.1.255"])[0], "10.4.1.250");
  assert.throws(
    () => take(["10.4.0.250", "10.4.1.9"]),
    (error) => isFault(error, "unsupported-value"),
  );
});

test("a cooling address is listed only when its time has come", () => {
  const book = emptyBook([cidr("10.4.1.0/30")]);
  unlease(book, "10.4.1.1" as Ip, 100);
  unlease(book, "10.4.1.2" as Ip, 200);
  assert.deepEqual(cooled(book, 99), []);
  assert.deepEqual(cooled(book, 100), ["10.4.1.1"]);
  assert.deepEqual(cooled(book, 500), ["10.4.1.1", "10.4.1.2"]);
});

test("against a model: never an address twice, never a cooling one, and empty only when all are taken", () => {
  const blocks = [cidr("10.4.1.0/28"), cidr("10.4.2.0/30"), cidr("fd00:4::/125")];
  const step = fc.record({
    what: fc.constantFrom("take4", "take6", "drop", "cool", "thaw"),
    pick: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
      const book = emptyBook(blocks);
      const taken = new Set<Ip>();
      const cold = new Set<Ip>();
      for (const { what, pick } of steps) {
        const chosen = [...taken][pick % Math.max(1, taken.size)];
        if (what === "take4" || what === "take6") {
          const family = what === "take4" ? 4 : 6;
          const total = family === 4 ? 13 + 2 : 6;
          const busy = [...taken, ...cold].filter((address) => address.includes(":") === (family === 6)).length;
          if (busy === total) {
            assert.throws(() => chooseAddress(book, family, 0), /no free/);
            continue;
          }
          const address = chooseAddress(book, family, 0);
          assert.ok(!taken.has(address) && !cold.has(address), `${address} given twice`);
          assert.ok(blocks.some((block) => cidrContains(block, address) && isUsable(block, address)));
          lease(book, address);
          taken.add(address);
        } else if (chosen !== undefined && what === "drop") {
          unlease(book, chosen);
          taken.delete(chosen);
        } else if (chosen !== undefined && what === "cool") {
          unlease(book, chosen, 50);
          taken.delete(chosen);
          cold.add(chosen);
        } else if (what === "thaw") {
          for (const address of cooled(book, 60)) book.cooling.delete(address);
          cold.clear();
        }
      }
      const counted = usage(book, 0).reduce((sum, { live, cooling }) => sum + live + cooling, 0);
      assert.equal(counted, taken.size + cold.size);
    }),
    { numRuns: 300 },
  );
});

test("a wide IPv6 block is searched no longer than what is taken", () => {
  const book = emptyBook([cidr("fd00:4::/64")]);
  for (let index = 0; index < 1000; index += 1) lease(book, chooseAddress(book, 6, 0));
  assert.equal(book.leased.size, 1000);
});

test("what is withheld is not given, cooled or never leased, and who asks hears why", () => {
  const book = emptyBook([cidr("10.4.1.8/30"), cidr("fd00:4:1::/64")]);
  const [one, two] = ["10.4.1.9" as Ip, "10.4.1.10" as Ip];
  const withheld = createAddressTally([one, two, "fd00:4:1::2" as Ip, "fd00:4:1::3" as Ip]);
  book.withheld = Object.assign(withheld, { why: "it is listed elsewhere" });
  unlease(book, one, 1000);
  const ask = (nowMs: number): Ip => chooseAddress(book, 4, nowMs);
  assert.throws(
    () => ask(500),
    (error) =>
      isFault(error, "pool-empty") &&
      /0 in use, 1 cooling, next free in 1 s .*; each of 1 is withheld: it is listed elsewhere/.test(error.message),
  );
  // What nobody knows the end of is nothing to wait for.
  assert.throws(
    () => ask(1000),
    (error) => isFault(error, "pool-empty") && error.data["nextFreeMs"] === undefined && error.data["withheld"] === 2,
  );
  assert.deepEqual(cooled(book, 1000), []);
  assert.deepEqual(
    usage(book, 1000).map(({ cooling, withheld, free }) => [cooling, withheld, free]),
    [
      [0, 2, 0n],
      [0, 2, 2n ** 64n - 4n],
    ],
    "those too that nobody has had since the journal began",
  );
  assert.throws(() => chooseAddresses(book, { addresses: [two], ranges: [] }, 1000), /10\.4\.1\.10 .* is withheld/);
  assert.equal(chooseAddress(book, 6, 0), "fd00:4:1::4", "the search goes on behind them");
  book.withheld = createAddressTally([one]);
  assert.equal(ask(1000), two);
  book.withheld = createAddressTally();
  assert.deepEqual(cooled(book, 1000), [one]);
});

test("what is withheld counts once, as what it is otherwise where it is that; where nobody knows what is, nothing is free", () => {
  const book = emptyBook([cidr("10.4.1.0/24"), cidr("fd00:4:1::/64")]);
  const [used, cools] = ["10.4.1.9" as Ip, "10.4.1.10" as Ip];
  const elsewhere = ["10.4.2.9" as Ip, "fd00:4:2::9" as Ip];
  lease(book, used);
  unlease(book, cools, 1000);
  const counts = (nowMs: number): bigint[][] =>
    usage(book, nowMs).map(({ live, cooling, withheld, free }) => [...[live, cooling, withheld].map(BigInt), free]);
  book.withheld = createAddressTally([used, cools, "10.4.1.11" as Ip, "fd00:4:1::2" as Ip, ...elsewhere]);
  const free6 = 2n ** 64n - 2n;
  assert.deepEqual(counts(500), [
    [1n, 1n, 1n, 250n],
    [0n, 0n, 1n, free6 - 1n],
  ]);
  assert.deepEqual(counts(1000)[0], [1n, 0n, 2n, 250n]);
  book.withheld = Object.assign(createAddressTally(), { isAny: true, has: () => true });
  assert.deepEqual(
    usage(book, 500).map(({ live, cooling, withheld, free }) => [live, cooling, withheld, free]),
    [
      [1, 1, 251, 0n],
      [0, 0, Number(free6), 0n],
    ],
  );
  assert.throws(() => chooseAddress(book, 4, 500), /1 in use, 1 cooling.*; each of 251 is withheld/);
  book.withheld = Object.assign(createAddressTally(["10.4.1.11" as Ip]), { mayBeAsked: true });
  assert.deepEqual(counts(500)[0], [1n, 1n, 0n, 251n], "it is there for who asks");
});

test("counts are what a look at each address says, whatever is in use, cools, and is listed here and elsewhere", () => {
  const nowMs = 1000;
  const elsewhere = ["10.9.0.7", "fd00:9::7", "10.4.1.0", "10.4.1.1", "fd00:4:1::"].map(testIp);
  const block = fc.constantFrom("10.4.1.0/28", "10.4.2.0/24", "fd00:4:1::/64", "fd00:4:2::/120", "fd00:4:3::/125");
  const what = fc.constantFrom(
    "leased",
    "cools",
    "cooled",
    "listed",
    "listed and leased",
    "listed and cools",
    "listed and cooled",
  );
  const entries = fc.array(fc.record({ where: fc.nat(), at: fc.bigInt(0n, 5n), what }), { maxLength: 40 });
  fc.assert(
    fc.property(fc.uniqueArray(block, { minLength: 1 }), entries, (texts, all) => {
      const blocks = texts.map(cidr);
      const book = emptyBook(blocks);
      const listed = new Set(elsewhere);
      for (const { where, at, what: state } of all) {
        const chosen = present(blocks[where % blocks.length], "a block");
        const address = usableAt(chosen, usableAddresses(chosen).first + at);
        if (state.includes("listed")) listed.add(address);
        if (book.leased.has(address) || book.cooling.has(address)) continue;
        if (state.includes("leased")) lease(book, address);
        if (state.includes("cool")) unlease(book, address, state.includes("cooled") ? nowMs : nowMs + 1);
      }
      book.withheld = createAddressTally(listed);
      for (const { family, total, live, cooling, withheld, free } of usage(book, nowMs)) {
        const own = blocks.filter((candidate) => cidrFamily(candidate) === family);
        const seen = { live: 0, cooling: 0, withheld: 0 };
        for (const address of new Set([...book.leased, ...book.cooling.keys(), ...listed])) {
          if (!own.some((candidate) => isUsable(candidate, address))) continue;
          const isHeld = listed.has(address) && (book.cooling.get(address) ?? 0) <= nowMs;
          seen[book.leased.has(address) ? "live" : isHeld ? "withheld" : "cooling"] += 1;
        }
        assert.deepEqual({ live, cooling, withheld }, seen);
        assert.equal(
          total,
          own.reduce((sum, candidate) => sum + usableAddresses(candidate).count, 0n),
        );
        assert.equal(free, total - BigInt(live + cooling + withheld));
      }
    }),
    { numRuns: 500 },
  );
});

test("what is withheld for who asks is given to who asks, and free again when it has cooled", () => {
  const book = emptyBook([cidr("10.4.1.8/30")]);
  const [one, two] = ["10.4.1.9" as Ip, "10.4.1.10" as Ip];
  book.withheld = Object.assign(createAddressTally([one]), { mayBeAsked: true });
  assert.equal(chooseAddress(book, 4, 0), two, "nobody gets it by chance");
  assert.deepEqual(chooseAddresses(book, { addresses: [one], ranges: [] }, 0), [one]);
  lease(book, one);
  assert.throws(() => chooseAddresses(book, { addresses: [one], ranges: [] }, 0), /is in use/);
  unlease(book, one, 1000);
  assert.throws(() => chooseAddresses(book, { addresses: [one], ranges: [] }, 500), /cools for 1 s more/);
  assert.deepEqual(cooled(book, 1000), [one]);
});

// Node blocks: tables for the rules, properties against a plain model.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { present } from "../base/assert.ts";
import { isFault } from "../base/fault.ts";
import { type Cidr, cidrsOverlap, parseCidr } from "../net/cidr.ts";
import {
  type BlockBook,
  blockCidr,
  blockPrefixDefault,
  blockSizeProblem,
  bookUsage,
  decodeBook,
  emptyBook,
  encodeBook,
  freeBlock,
  givenBlocks,
  isUsed,
  markBlock,
  placeOf,
  takeBlock,
} from "./node-blocks.ts";

const cidr = (text: string): Cidr => present(parseCidr(text), text);
const take = (book: BlockBook): Cidr => blockCidr(book, present(takeBlock(book), "a free block"));

test("blocks are given one after the other, and a freed one only when the others have had their turn", () => {
  const book = emptyBook(cidr("10.64.0.0/22"), 24, []);
  assert.deepEqual([take(book), take(book), take(book)], ["10.64.0.0/24", "10.64.1.0/24", "10.64.2.0/24"]);
  assert.equal(freeBlock(book, 1), true);
  assert.deepEqual([take(book), take(book)], ["10.64.3.0/24", "10.64.1.0/24"], "the cursor wraps round");
  assert.equal(takeBlock(book), undefined);
  assert.equal(freeBlock(book, 2), true);
  assert.equal(take(book), "10.64.2.0/24");
});

test("a block that a service range has any part of is never given and never freed", () => {
  const book = emptyBook(cidr("10.64.0.0/21"), 24, [
    cidr("10.64.2.128/25"),
    cidr("10.64.4.0/23"),
    cidr("172.16.0.0/12"),
  ]);
  assert.deepEqual(bookUsage(book), { total: 8, service: 3, given: 0, free: 5, pending: 0 });
  const all = Array.from({ length: 5 }, () => take(book));
  assert.deepEqual(all, ["10.64.0.0/24", "10.64.1.0/24", "10.64.3.0/24", "10.64.6.0/24", "10.64.7.0/24"]);
  assert.equal(takeBlock(book), undefined);
  for (let block = 0; block < 8; block += 1) freeBlock(book, block);
  assert.deepEqual(bookUsage(book), { total: 8, service: 3, given: 0, free: 5, pending: 0 });
  assert.equal(bookUsage(emptyBook(cidr("10.64.0.0/21"), 24, [cidr("10.0.0.0/8")])).free, 0, "a range inside services");
});

test("where a network lies", () => {
  const book = emptyBook(cidr("10.64.0.0/16"), 24, []);
  const cases: [string, ReturnType<typeof placeOf>][] = [
    ["10.64.7.0/24", { kind: "block", block: 7 }],
    ["10.64.255.0/24", { kind: "block", block: 255 }],
    ["10.65.0.0/24", { kind: "outside" }],
    ["fd00::/64", { kind: "outside" }],
    ["10.64.7.64/26", { kind: "misfit", first: 7, last: 7 }],
    ["10.64.8.0/22", { kind: "misfit", first: 8, last: 11 }],
    ["10.64.0.0/16", { kind: "misfit", first: 0, last: 255 }],
    ["10.0.0.0/8", { kind: "misfit", first: 0, last: 255 }],
  ];
  for (const [text, place] of cases) assert.deepEqual(placeOf(book, cidr(text)), place, text);
  const single = emptyBook(cidr("10.64.7.0/24"), 24, []);
  assert.deepEqual(placeOf(single, cidr("10.64.7.0/24")), { kind: "block", block: 0 });
});

test("sizes that a range can be cut into", () => {
  assert.equal(blockPrefixDefault(cidr("10.0.0.0/8")), 24);
  assert.equal(blockPrefixDefault(cidr("fd00::/48")), 64);
  assert.equal(blockSizeProblem(cidr("10.0.0.0/8"), 24), undefined);
  assert.equal(blockSizeProblem(cidr("fd00::/48"), 64), undefined);
  assert.match(blockSizeProblem(cidr("10.0.0.0/8"), 25) ?? "", /131072 blocks.*at most 65536/);
  assert.match(blockSizeProblem(cidr("fd00::/40"), 64) ?? "", /16777216 blocks/);
  assert.match(blockSizeProblem(cidr("10.0.0.0/16"), 15) ?? "", /larger than the range/);
  assert.match(blockSizeProblem(cidr("10.0.0.0/30"), 33) ?? "", /at most 32 bits/);
  const wide = emptyBook(cidr("fd00::/48"), 64, []);
  assert.equal(blockCidr(wide, 65_535), "fd00:0:0:ffff::/64");
  wide.cursor = 65_535;
  assert.deepEqual([take(wide), take(wide)], ["fd00:0:0:ffff::/64", "fd00::/64"]);
});

test("a ledger that contradicts itself is refused, not guessed at", () => {
  const good = encodeBook(emptyBook(cidr("10.64.0.0/20"), 24, []));
  const entry = { block: 3, node: "n", nodeUid: "u" };
  const cases: [Partial<typeof good>, RegExp][] = [
    [{ used: "AA==" }, /bitmap must be base64 of 2 bytes/],
    [{ used: "AA=A" }, /bitmap/],
    [{ used: "not base64!" }, /bitmap/],
    [{ cursor: 16 }, /cursor 16 is beyond/],
    [{ pending: [entry] }, /block 3 waits for n and is not marked/],
    [{ pending: [{ ...entry, block: 16 }] }, /block 16 waits/],
    [{ blockPrefix: 8 }, /larger than the range/],
  ];
  for (const [wrong, message] of cases) {
    assert.throws(
      () => decodeBook({ ...good, ...wrong }, []),
      (error) => isFault(error, "store-failed") && message.test(error.message),
      JSON.stringify(wrong),
    );
  }
});

test("a service range that is new is marked when the ledger is read", () => {
  const fields = encodeBook(emptyBook(cidr("10.64.0.0/20"), 24, []));
  const book = decodeBook(fields, [cidr("10.64.0.0/23")]);
  assert.equal(bookUsage(book).service, 2);
  assert.equal(take(book), "10.64.2.0/24");
});

interface Shape {
  range: Cidr;
  prefix: number;
  services: Cidr[];
}

const shapes: fc.Arbitrary<Shape> = fc
  .tuple(
    fc.boolean(),
    fc.integer({ min: 0, max: 7 }),
    fc.array(fc.tuple(fc.nat(255), fc.integer({ min: 0, max: 9 })), { maxLength: 3 }),
  )
  .map(([v4, bits, parts]) => ({
    range: cidr(v4 ? `10.64.0.0/${24 - bits}` : `fd00:0:0:0::/${64 - bits}`),
    prefix: v4 ? 24 : 64,
    // A part of the range, from a sixteenth of a block up to several blocks.
    services: parts.map(([third, size]) =>
      v4
        ? cidr(`10.64.${size > 4 ? (third >> (size - 4)) << (size - 4) : third}.0/${28 - size}`)
        : cidr(`fd00:0:0:${(size > 4 ? (third >> (size - 4)) << (size - 4) : third).toString(16)}::/${68 - size}`),
    ),
  }));

type Step = { do: "take" } | { do: "free" | "mark"; nth: number } | { do: "restart" };
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.constant<Step>({ do: "take" }) },
    { weight: 2, arbitrary: fc.nat(1000).map((nth): Step => ({ do: "free", nth })) },
    { weight: 1, arbitrary: fc.nat(1000).map((nth): Step => ({ do: "mark", nth })) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: "restart" }) },
  ),
  { maxLength: 200 },
);

test("against a model: never a block twice, never a service block, empty only when all are given, and next-fit", () => {
  fc.assert(
    fc.property(shapes, steps, ({ range, prefix, services }, story) => {
      let book = emptyBook(range, prefix, services);
      const owned = new Set<number>();
      const isService = (block: number): boolean =>
        services.some((service) => cidrsOverlap(service, blockCidr(book, block)));
      let last = -1;
      for (const step of story) {
        if (step.do === "restart") book = decodeBook(encodeBook(book), services);
        else if (step.do === "take") {
          const block = takeBlock(book);
          const candidates = Array.from({ length: book.count }, (_, at) => (last + 1 + at) % book.count);
          const expected = candidates.find((candidate) => !owned.has(candidate) && !isService(candidate));
          assert.equal(block, expected);
          if (block === undefined) continue;
          owned.add(block);
          last = block;
        } else {
          const block = step.nth % book.count;
          if (step.do === "mark") {
            assert.equal(markBlock(book, block), !owned.has(block) && !isService(block));
            if (!isService(block)) owned.add(block);
          } else assert.equal(freeBlock(book, block), owned.delete(block));
        }
      }
      assert.deepEqual(
        givenBlocks(book),
        [...owned].sort((a, b) => a - b),
      );
      assert.equal(bookUsage(book).given, owned.size);
      for (let block = 0; block < book.count; block += 1) {
        assert.equal(isUsed(book, block), owned.has(block) || isService(block));
        assert.deepEqual(placeOf(book, blockCidr(book, block)), { kind: "block", block });
      }
    }),
  );
});

test("decode(encode(book)) is the book", () => {
  fc.assert(
    fc.property(shapes, fc.array(fc.nat(1000)), fc.nat(1000), ({ range, prefix, services }, marks, cursor) => {
      const book = emptyBook(range, prefix, services);
      for (const mark of marks) markBlock(book, mark % book.count);
      book.cursor = cursor % book.count;
      book.pending = givenBlocks(book).map((block) => ({ block, node: `node-${block}`, nodeUid: `uid-${block}` }));
      assert.deepEqual(decodeBook(encodeBook(book), services), book);
    }),
  );
});

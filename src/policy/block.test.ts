// Networks as the API server admits them, and as they are cut.

import assert from "node:assert/strict";
import { test } from "node:test";
import { address } from "../../test/policy-world.ts";
import { blockHolds, readBlock, readCidr } from "./block.ts";

test("a network is read as leniently as validation of ipBlock does", () => {
  const table: [string, string | undefined][] = [
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["10.1.2.3/32", "10.1.2.3/32"],
    ["010.001.000.0/08", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["00.0.0.0/00", "0.0.0.0/0"],
    ["::/0", "::/0"],
    ["FD00:0::5/64", "fd00::/64"],
    ["::ffff:10.0.0.9/104", "10.0.0.0/8"],
    ["::ffff:10.0.0.9/128", "10.0.0.9/32"],
    ["10.0.0.0", undefined],
    ["10.0.0.0/33", undefined],
    ["10.0.0/8", undefined],
    ["10.0.0.256/8", undefined],
    ["10.0.0.0/-1", undefined],
    ["10.0.0.0/", undefined],
    ["/8", undefined],
    ["/", undefined],
    ["", undefined],
    ["0", undefined],
    [" 10.0.0.0/8", undefined],
    ["10.0.0.0/8 ", undefined],
    ["10.0.0.0/8/8", undefined],
    ["::/129", undefined],
    ["::ffff:10.0.0.9/129", undefined],
    [`${"0".repeat(100)}/8`, undefined],
  ];
  for (const [text, read] of table) assert.equal(readCidr(text), read, JSON.stringify(text));
});

test("an address is held where it is in the block and in no exception", () => {
  const block = readBlock({ cidr: "10.0.0.0/8", except: ["10.1.0.0/16", "10.1.2.0/24"] }, "", assert.fail);
  assert.ok(block !== undefined);
  for (const text of ["10.0.0.0", "10.2.0.0", "10.255.255.255"]) assert.ok(blockHolds(block, address(text)), text);
  for (const text of ["10.1.0.0", "10.1.2.3", "11.0.0.0", "fd00::1"])
    assert.ok(!blockHolds(block, address(text)), text);
});

test("what is no network is told with the one that is meant, never a wider one", () => {
  const told: string[] = [];
  readBlock({ cidr: "10.1.2.3", except: ["10.1.2.3/33"] }, "from[0]", (path, message) =>
    told.push(`${path}: ${message}`),
  );
  assert.deepEqual(told, [
    'from[0].cidr: "10.1.2.3" is not a network; the peer allows nothing; write 10.1.2.3/32',
    'from[0].except[0]: "10.1.2.3/33" is not a network; the peer allows nothing; the prefix of IPv4 is 0 to 32',
  ]);
});

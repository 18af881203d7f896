// Links: the messages that one change becomes, and answers of kinds that this machine cannot make.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../../base/fault.ts";
import type { LinkChange } from "../contract.ts";
import { createWriter, decodeAttributes, defineAttributes, encodeAttributes, reserve, written } from "./codec.ts";
import { decodeLink, setLinkRequests } from "./link.ts";

/** What each message of a change does, read back from its bytes. */
function steps(change: LinkChange): object[] {
  const table = defineAttributes({
    rename: { id: 3, kind: "string" },
    group: { id: 27, kind: "u32" },
    families: { id: 26, kind: "bytes" },
  });
  return setLinkRequests(5, change).map(({ fill }) => {
    const writer = createWriter();
    fill(writer);
    const bytes = written(writer);
    const { rename, group, families } = decodeAttributes(table, bytes.subarray(16));
    const [flags, mask] = [bytes.readUInt32LE(8), bytes.readUInt32LE(12)];
    return {
      ...(mask === 0 ? {} : { up: flags === 1 }),
      ...(rename === undefined ? {} : { rename }),
      ...(group === undefined ? {} : { group }),
      ...(families === undefined ? {} : { linkLocal: true }),
    };
  });
}

void test("a link goes down before it is renamed, which kernels before 6.2 need, and gets no address before it comes up", () => {
  assert.deepEqual(steps({ rename: "x", up: false, group: 9 }), [{ up: false }, { up: false, rename: "x", group: 9 }]);
  assert.deepEqual(steps({ rename: "x", up: true }), [{ up: true, rename: "x" }]);
  assert.deepEqual(steps({ linkLocal: "none", up: true, group: 9 }), [{ linkLocal: true }, { up: true, group: 9 }]);
  assert.deepEqual(steps({ linkLocal: "none" }), [{ linkLocal: true }]);
  assert.deepEqual(steps({ up: false }), [{ up: false }]);
  assert.deepEqual(steps({}), [{}]);
});

/** The body of an RTM_NEWLINK. */
function answer(
  kind: string,
  fields: { mac?: Uint8Array; link?: number; alias?: Uint8Array; xdp?: { attached: number } },
): Buffer {
  const info = defineAttributes({ kind: { id: 1, kind: "string" }, data: { id: 2, kind: "bytes" } });
  const table = defineAttributes({
    mac: { id: 1, kind: "bytes" },
    name: { id: 3, kind: "string" },
    link: { id: 5, kind: "u32" },
    alias: { id: 20, kind: "bytes" },
    xdp: { id: 43, kind: "nested", of: defineAttributes({ attached: { id: 2, kind: "u8" } }) },
    info: { id: 18, kind: "nested", of: info },
  });
  const writer = createWriter();
  reserve(writer, 16);
  encodeAttributes(writer, table, { name: "x0", ...fields, info: { kind, data: Buffer.from("0500", "hex") } });
  return written(writer);
}

void test("the link below is a peer for a veth only, and not while it is being removed", () => {
  assert.equal(decodeLink(answer("veth", { link: 7 })).peerIndex, 7);
  assert.equal(decodeLink(answer("veth", { link: 0 })).peerIndex, undefined);
  assert.equal(decodeLink(answer("vlan", { link: 7 })).peerIndex, undefined);
});

void test("a hardware address of another length is none, and an alias may end in a NUL", () => {
  assert.equal(decodeLink(answer("sit", { mac: new Uint8Array(4) })).mac, undefined);
  assert.equal(decodeLink(answer("veth", { mac: new Uint8Array(6) })).mac, "00:00:00:00:00:00");
  assert.equal(decodeLink(answer("veth", { alias: Buffer.from("a pod\0") })).alias, "a pod");
});

void test("a link cut short is refused", () => {
  assert.throws(
    () => decodeLink(Buffer.alloc(15)),
    (error) => isFault(error, "kernel-refused"),
  );
});

void test("a program before everything else is seen where one is attached", () => {
  const hasXdp = (xdp?: { attached: number }): boolean | undefined =>
    decodeLink(answer("veth", xdp === undefined ? {} : { xdp })).hasXdp;
  // None, in the driver, in the kernel's own code (XDP_ATTACHED_*).
  assert.deepEqual(
    [hasXdp(), hasXdp({ attached: 0 }), hasXdp({ attached: 1 }), hasXdp({ attached: 2 })],
    [undefined, undefined, true, true],
  );
});

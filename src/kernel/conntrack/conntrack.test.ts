// Connection tracking against a kernel that says what the test wants: refusals, absence, the end of everything in the middle.

import assert from "node:assert/strict";
import { test } from "node:test";
import { faultOf, ip } from "../../../test/kernel-stage.ts";
import { attribute, done, error, message } from "../../../test/netlink-bytes.ts";
import { Fault } from "../../base/fault.ts";
import { ipBytes } from "../../net/ip.ts";
import type { Descriptor } from "../addon.ts";
import { type Conntrack, connectionsMax } from "../contract.ts";
import { splitMessages } from "../netlink/message.ts";
import { createConntrack } from "./conntrack.ts";

const [eperm, enoent, ebusy, einval] = [1, 2, 16, 22];
const [newEntry, deleteEntry, nested] = [0x100, 0x102, 0x8000];
const pod = ip("10.4.1.7");
const stranger = ip("10.4.1.8");

const be32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** Entry number `n`, between `from` and the address of that number. */
function entry(n: number, from = pod): Buffer {
  const addresses = Buffer.concat([attribute(1, Buffer.from(ipBytes(from))), attribute(2, be32(n))]);
  const tuple = Buffer.concat([
    attribute(1 | nested, addresses),
    attribute(2 | nested, attribute(1, Buffer.from([17]))),
  ]);
  const body = [Buffer.from([2, 0, 0, 0]), attribute(1 | nested, tuple), attribute(2 | nested, tuple)];
  return message(newEntry, 2, 1, Buffer.concat([...body, attribute(12, be32(n))]));
}

const end = message(done, 2, 1, Buffer.alloc(4));

function verdict(errno: number, sequence = 1): Buffer {
  const body = Buffer.alloc(20);
  body.writeInt32LE(-errno);
  return message(error, 0x100, sequence, body);
}

interface Script {
  /** The parts of the table, in order; an Error is thrown in the place of one. */
  parts: readonly (Buffer[] | Error)[];
  /** What is said to the deletion of entry `n`; 0 if absent. */
  verdicts?: (n: number) => number;
  /** Called after each part is given. */
  afterPart?: (part: number) => void;
  mustBeOpen?: (what: string) => void;
}

interface Played {
  conntrack: Conntrack;
  /** Sockets that are open, and the numbers of the entries that were asked to be deleted, send by send. */
  open: Set<Descriptor>;
  sends: number[][];
}

function play({ parts, verdicts = () => 0, afterPart, mustBeOpen = () => undefined }: Script): Played {
  const open = new Set<Descriptor>();
  const sends: number[][] = [];
  let given = 0;
  const part = async (socket: Descriptor): Promise<Buffer> => {
    assert.ok(open.has(socket));
    const next = parts[given] ?? assert.fail("asked for more than there is");
    given += 1;
    afterPart?.(given);
    if (next instanceof Error) throw next;
    return Buffer.concat(next);
  };
  const conntrack = createConntrack({
    netns: {} as Descriptor,
    mustBeOpen,
    addon: {
      openNetlink: () => {
        const socket = {} as Descriptor;
        open.add(socket);
        return socket;
      },
      close: (socket) => assert.ok(open.delete(socket), "closed once"),
      firstPart: (_lane, socket) => (assert.equal(given, 0), part(socket)),
      nextPart: (_lane, socket) => (assert.ok(given > 0), part(socket)),
      call: async (_lane, socket, request) => {
        assert.ok(open.has(socket));
        const messages = splitMessages(request);
        assert.ok(messages.every(({ type }) => type === deleteEntry));
        // The id is the last attribute.
        const numbers = messages.map(({ body }) => body.readUInt32BE(body.length - 4));
        sends.push(numbers);
        return Buffer.concat(messages.map(({ sequence }, at) => verdict(verdicts(numbers[at] ?? 0), sequence)));
      },
    },
  });
  return { conntrack, open, sends };
}

const errnoError = (code: string): Error => Object.assign(new Error(`step: ${code}`), { code });

void test("entries are deleted part by part, 128 in a send; those of others are not named", async () => {
  const many = Array.from({ length: 300 }, (_, n) => entry(n));
  const { conntrack, open, sends } = play({
    parts: [many, [entry(1000, stranger)], [entry(1001), entry(1002, stranger), end]],
  });
  assert.equal(await conntrack.forget([pod]), 301);
  assert.deepEqual(
    sends.map(({ length }) => length),
    [128, 128, 44, 1],
  );
  assert.deepEqual(sends.at(-1), [1001]);
  assert.equal(open.size, 0);
});

void test("what is gone, or was replaced, does not count and is no error", async () => {
  const { conntrack } = play({
    parts: [[entry(1), entry(2), entry(3), end]],
    verdicts: (n) => (n === 2 ? enoent : 0),
  });
  assert.equal(await conntrack.forget([pod]), 2);
});

void test("an entry that is not let go is a fault, but only after the others went", async () => {
  const { conntrack, open, sends } = play({
    parts: [
      [entry(1), entry(2)],
      [entry(3), end],
    ],
    verdicts: (n) => (n === 1 ? ebusy : 0),
  });
  await assert.rejects(conntrack.forget([pod]), faultOf("kernel-busy"));
  assert.deepEqual(sends, [[1, 2], [3]]);
  assert.equal(open.size, 0);
});

void test("without connection tracking in the kernel there is nothing", async () => {
  const { conntrack, open } = play({ parts: [[verdict(einval)]] });
  assert.equal(await conntrack.forget([pod]), 0);
  assert.deepEqual(await play({ parts: [[verdict(einval)]] }).conntrack.list([pod]), []);
  assert.equal(open.size, 0);
});

void test("what else the kernel says, or the addon throws, is the caller's fault to handle, and no socket stays", async () => {
  const cases: [Script["parts"], Parameters<typeof faultOf>[0], RegExp][] = [
    [[[verdict(eperm)]], "kernel-refused", /forgetting connections of 1 address\(es\): the kernel says EPERM/],
    [[[entry(1)], [message(done, 2, 1, verdict(eperm).subarray(16, 20))]], "kernel-refused", /EPERM/],
    [[errnoError("ETIMEDOUT")], "call-timeout", /no complete answer/],
    [[[entry(1)], errnoError("ECANCELED")], "agent-stopping", /stopped/],
    [[[Buffer.alloc(20, 7)]], "kernel-refused", /not well-formed/],
    [[[entry(1).fill(1, 24, 26), end]], "kernel-refused", /not well-formed/],
  ];
  for (const [parts, code, words] of cases) {
    const { conntrack, open } = play({ parts });
    await assert.rejects(conntrack.forget([pod]), (thrown) => faultOf(code)(thrown) && words.test(String(thrown)));
    assert.equal(open.size, 0, String(words));
  }
});

void test("a kernel that is closed in the middle is asked nothing more", async () => {
  let closed = false;
  const mustBeOpen = (): void => {
    if (closed) throw new Fault("agent-stopping", "closed");
  };
  const afterPart = (): void => {
    closed = true;
  };
  for (const parts of [[[entry(1)]], [[entry(1, stranger)]]]) {
    closed = false;
    const { conntrack, open, sends } = play({ parts, afterPart, mustBeOpen });
    await assert.rejects(conntrack.forget([pod]), faultOf("agent-stopping"));
    assert.deepEqual(sends, []);
    assert.equal(open.size, 0);
  }
});

void test("an entry that the kernel gives twice is listed once; so many entries are listed, and not one more", async () => {
  const twice = await play({
    parts: [
      [entry(1), entry(2)],
      [entry(1), end],
    ],
  }).conntrack.list([pod]);
  assert.equal(twice.length, 2);
  const all = Array.from({ length: connectionsMax }, (_, n) => entry(n));
  assert.equal((await play({ parts: [all, [entry(0), end]] }).conntrack.list([pod])).length, connectionsMax);
  const { conntrack, open } = play({ parts: [all, [entry(connectionsMax), end]] });
  await assert.rejects(
    conntrack.list([pod]),
    (thrown) => faultOf("kernel-refused")(thrown) && /65536/.test(String(thrown)),
  );
  assert.equal(open.size, 0);
});

void test("a table without an end is given up", async () => {
  const theirs = [entry(1, stranger)];
  const { conntrack, open } = play({ parts: Array.from({ length: 20_000 }, () => theirs) });
  await assert.rejects(conntrack.forget([pod]), (thrown) => /no end/.test(String(thrown)));
  assert.equal(open.size, 0);
});

// Holds native/addon.c to what addon.ts promises: exchanges, bounds, closes in flight, monitors, sysctls.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { readlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { present } from "../base/assert.ts";
import { type TestNetns, makeNetns } from "../../test/netns.ts";
import {
  aboutLink,
  ack,
  answers,
  attribute,
  batchBegin,
  batchEnd,
  create,
  deleteTable,
  done,
  dump,
  error,
  excl,
  getLink,
  getRoute,
  message,
  netfilter,
  newLink,
  newTable,
  noop,
  request,
  route,
  setLink,
  silent,
  toNftables,
} from "../../test/netlink-bytes.ts";
import { type Descriptor, laneQueueLenMax, loadAddon } from "./addon.ts";

const addon = loadAddon();
const timeoutMs = 5000;
const bounded = { timeout: 20_000 };

interface Place {
  netns: TestNetns;
  opened: Descriptor;
  socket: Descriptor;
}

function openPlace(t: TestContext, protocol: number = route): Place {
  const netns = makeNetns(t);
  const opened = addon.openNetns(netns.path);
  const socket = addon.openNetlink(opened, protocol);
  t.after(() => {
    addon.close(socket);
    addon.close(opened);
  });
  return { netns, opened, socket };
}

test("a socket lives in the namespace it was opened in", bounded, async (t) => {
  const { netns, socket } = openPlace(t);
  netns.run("ip", "link", "add", "only-here", "type", "veth", "peer", "name", "its-peer");
  const bytes = await addon.call(0, socket, aboutLink(getLink, request | ack, 7, "only-here"), timeoutMs);
  assert.deepEqual(
    answers(bytes),
    [newLink, error].map((type) => ({ type, seq: 7, code: 0 })),
  );
  assert.match(bytes.toString("latin1"), /only-here\0/);
  const home = addon.openNetlink(addon.openNetns("/proc/self/ns/net"), route);
  const [refused] = answers(await addon.call(0, home, aboutLink(getLink, request | ack, 8, "only-here"), timeoutMs));
  assert.deepEqual(refused, { type: error, seq: 8, code: -19 });
  addon.close(home);
});

test("a dump is given whole, through many datagrams", bounded, async (t) => {
  const { netns, socket } = openPlace(t);
  const directory = mkdtempSync(join(tmpdir(), "fltest-addon-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const batch = Array.from({ length: 60 }, (_, n) => `link add a${n} type veth peer name b${n}\n`);
  writeFileSync(join(directory, "batch"), batch.join(""));
  netns.run("ip", "-batch", join(directory, "batch"));
  const found = answers(await addon.call(0, socket, message(getLink, request | dump, 9, Buffer.alloc(16)), timeoutMs));
  assert.equal(found.filter(({ type, seq }) => type === newLink && seq === 9).length, 121);
  assert.equal(found.at(-1)?.type, done);
  assert.equal(found.length, 122);
});

test(
  "a long dump comes in parts, each with whole messages, and the lane does other work in between",
  bounded,
  async (t) => {
    const { netns, opened, socket } = openPlace(t);
    const directory = mkdtempSync(join(tmpdir(), "fltest-addon-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const hosts = Array.from({ length: 8000 }, (_, n) => `10.9.${n >> 8}.${n & 255}`);
    const batch = hosts.map((host) => `route add unreachable ${host}/32\n`);
    writeFileSync(join(directory, "batch"), batch.join(""));
    netns.run("ip", "-batch", join(directory, "batch"));
    const ask = message(getRoute, request | dump, 9, Buffer.from([2, ...Buffer.alloc(11)]));
    const whole = await addon.call(0, socket, ask, timeoutMs);
    const other = addon.openNetlink(opened, route);
    const parts = [await addon.firstPart(0, socket, ask, timeoutMs)];
    while (answers(present(parts.at(-1), "a part")).at(-1)?.type !== done) {
      const between = await addon.call(0, other, aboutLink(getLink, request | ack, 5, "lo"), timeoutMs);
      assert.deepEqual(answers(between).at(-1), { type: error, seq: 5, code: 0 });
      parts.push(await addon.nextPart(0, socket, ask, timeoutMs));
    }
    const lengths = parts.map(({ length }) => length);
    assert.ok(parts.length > 1, String(lengths));
    assert.ok(
      lengths.slice(0, -1).every((length) => length >= 256 * 1024 && length < 320 * 1024),
      String(lengths),
    );
    assert.equal(parts.length, Math.ceil(whole.length / present(lengths[0], "a first part")), String(lengths));
    assert.deepEqual(Buffer.concat(parts), whole);
    await assert.rejects(addon.nextPart(0, socket, ask, 20), { code: "ETIMEDOUT" });
    addon.close(other);
  },
);

test(
  "a batch is complete when every message that asks for it is acknowledged, refused ones too",
  bounded,
  async (t) => {
    const { socket } = openPlace(t);
    const names = ["lo", "nothing", "lo", "nowhere"];
    const batch = names.map((name, n) => aboutLink(setLink, request | ack, 20 + n, name));
    assert.deepEqual(answers(await addon.call(0, socket, Buffer.concat(batch), timeoutMs)), [
      { type: error, seq: 20, code: 0 },
      { type: error, seq: 21, code: -19 },
      { type: error, seq: 22, code: 0 },
      { type: error, seq: 23, code: -19 },
    ]);
  },
);

test(
  "an nftables batch gives the acks of its messages, and ends at once where the batch itself is refused",
  bounded,
  async (t) => {
    const { socket } = openPlace(t, netfilter);
    const name = attribute(1, Buffer.from("t1\0"));
    const none = Buffer.alloc(0);
    const end = toNftables(batchEnd, 0, 33, none);
    const batch = (first: number, subsystem?: number): Buffer =>
      Buffer.concat([
        toNftables(batchBegin, 0, 30, none, subsystem),
        toNftables(first, ack | create | excl, 31, name),
        toNftables(deleteTable, ack, 32, attribute(1, Buffer.from("t2\0"))),
        end,
      ]);
    const both = answers(await addon.call(1, socket, batch(newTable), timeoutMs));
    assert.deepEqual(
      both.map(({ seq, code }) => [seq, code]),
      [
        [31, 0],
        [32, -2],
      ],
    );
    const refused = answers(await addon.call(1, socket, batch(newTable, 200), timeoutMs));
    assert.equal(refused.length, 1);
    assert.deepEqual([refused[0]?.seq, (refused[0]?.code ?? 0) < 0], [30, true]);
  },
);

test("errors carry the errno name and the step", bounded, async (t) => {
  const { netns, opened, socket } = openPlace(t);
  const directory = mkdtempSync(join(tmpdir(), "fltest-addon-"));
  t.after(() => rmSync(directory, { recursive: true }));
  execFileSync("mkfifo", [join(directory, "fifo")]);
  assert.throws(() => addon.openNetns(`${netns.path}-gone`), {
    code: "ENOENT",
    message: "open: No such file or directory",
  });
  for (const path of ["/proc/self/ns/mnt", "/dev/null", "/etc/passwd", "/", join(directory, "fifo"), "with\0zero"])
    assert.throws(() => addon.openNetns(path), { code: "EINVAL" }, path);
  assert.throws(() => addon.openNetlink(opened, 9999), { code: "EPROTONOSUPPORT", message: /^socket: / });
  assert.throws(() => addon.openNetlink(socket, route), { code: "EINVAL" });
  for (const wrong of [{}, [], null, 1, "descriptor"])
    assert.throws(() => addon.netnsId(wrong as Descriptor), { code: "EINVAL" });
  const calls: [Uint8Array, number, string][] = [
    [silent, 20, "ETIMEDOUT"],
    [silent, 0, "EINVAL"],
    [silent, Number.NaN, "EINVAL"],
    [silent.subarray(0, 15), 20, "EINVAL"],
    [Buffer.alloc(0), 20, "EINVAL"],
    [Buffer.alloc(32 * 1024 * 1024 + 1), 20, "EMSGSIZE"],
  ];
  for (const [bytes, boundMs, code] of calls) await assert.rejects(addon.call(0, socket, bytes, boundMs), { code });
  await assert.rejects(addon.call(3 as 0, socket, silent, 20), { code: "EINVAL" });
  await assert.rejects(addon.call(0, opened, silent, 20), { code: "EINVAL" });
});

test("lanes work side by side, but not on one socket", bounded, async (t) => {
  const { opened, socket } = openPlace(t);
  const other = addon.openNetlink(opened, route);
  const waits = assert.rejects(addon.call(2, other, silent, 200), { code: "ETIMEDOUT" });
  await assert.rejects(addon.call(0, other, silent, 20), { code: "EBUSY", message: /^socket in use by another lane/ });
  for (const lane of [0, 1] as const)
    assert.ok((await addon.call(lane, socket, aboutLink(getLink, request | ack, 1, "lo"), timeoutMs)).length > 0);
  await waits;
  await assert.rejects(addon.call(0, other, silent, 20), { code: "ETIMEDOUT" });
  addon.close(other);
});

test("what one call leaves unread does not answer the next", bounded, async (t) => {
  const { netns, socket } = openPlace(t);
  netns.run("ip", "link", "set", "lo", "up");
  // Answers at once to number 40, but the call waits for number 41, which is never answered.
  const both = Buffer.concat([aboutLink(getLink, request | ack, 40, "lo"), message(noop, request | dump, 41)]);
  await assert.rejects(addon.call(0, socket, both, 20), { code: "ETIMEDOUT" });
  const found = answers(await addon.call(0, socket, aboutLink(getLink, request | ack, 40, "nothing"), timeoutMs));
  assert.deepEqual(found, [{ type: error, seq: 40, code: -19 }]);
});

test("a lane takes so many calls and refuses one more", bounded, async (t) => {
  const { socket } = openPlace(t);
  const ask = (n: number) => addon.call(0, socket, aboutLink(getLink, request | ack, n, "lo"), timeoutMs);
  const calls = Array.from({ length: laneQueueLenMax }, (_, n) => ask(n));
  await assert.rejects(ask(5000), { code: "EAGAIN", message: /^queue full/ });
  for (const [n, bytes] of (await Promise.all(calls)).entries()) assert.equal(answers(bytes)[0]?.seq, n);
  await ask(5001);
});

test("closing while calls are under way closes only after them, and frees no number before", bounded, async (t) => {
  const { netns } = openPlace(t);
  const opened = addon.openNetns(netns.path);
  const socket = addon.openNetlink(opened, route);
  const number = addon.descriptorNumber(opened);
  const link = (): string => readlinkSync(`/proc/self/fd/${number}`);
  assert.equal(link(), netns.path);
  const calls = Array.from({ length: 300 }, (_, n) =>
    addon.call(0, socket, aboutLink(getLink, request | ack, n, "lo"), timeoutMs),
  );
  addon.close(opened);
  addon.close(socket);
  addon.close(socket);
  assert.equal(link(), netns.path);
  assert.throws(() => addon.descriptorNumber(opened), { code: "EBADF" });
  await assert.rejects(addon.call(0, socket, silent, 20), { code: "EBADF" });
  for (const [n, bytes] of (await Promise.all(calls)).entries()) assert.equal(answers(bytes)[0]?.seq, n);
  assert.throws(link, { code: "ENOENT" });
});

test("a monitor tells of a link that appears, until it is closed", bounded, async (t) => {
  const { netns, socket } = openPlace(t);
  const events: string[] = [];
  const { promise: seen, resolve } = Promise.withResolvers<void>();
  addon.monitor(socket, [1], (bytes) => {
    events.push(present(bytes, "a datagram").toString("latin1"));
    if (events.at(-1)?.includes("new-link\0")) resolve();
  });
  await assert.rejects(addon.call(0, socket, silent, 20), { code: "EBUSY" });
  assert.throws(() => addon.monitor(socket, [1], () => undefined), { code: "EBUSY" });
  netns.run("ip", "link", "add", "new-link", "type", "veth", "peer", "name", "peer-link");
  await seen;
  netns.run("ip", "link", "set", "new-link", "up"); // not read yet when the monitor is closed
  addon.close(socket);
  const count = events.length;
  const second = addon.openNetlink(addon.openNetns(netns.path), route);
  const { promise: later, resolve: resolveLater } = Promise.withResolvers<void>();
  addon.monitor(second, [1], () => resolveLater());
  netns.run("ip", "link", "set", "new-link", "down");
  await later;
  assert.equal(events.length, count);
  addon.close(second);
});

test("a callback may close its own monitor, or stop everything", bounded, async (t) => {
  const { netns, opened, socket } = openPlace(t);
  for (const end of [(own: Descriptor) => addon.close(own), () => addon.stop()]) {
    const own = addon.openNetlink(opened, route);
    let count = 0;
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    addon.monitor(own, [1], () => {
      count += 1;
      end(own);
      resolve();
    });
    for (const state of ["up", "down", "up", "down"]) netns.run("ip", "link", "set", "lo", state);
    await ended;
    const calls = Array.from({ length: 20 }, () =>
      addon.call(0, socket, aboutLink(getLink, request | ack, 1, "lo"), timeoutMs),
    );
    await Promise.all(calls);
    assert.equal(count, 1);
    addon.close(own);
  }
});

test("a monitor refuses groups and sockets that it cannot watch", bounded, async (t) => {
  const { opened, socket } = openPlace(t);
  const ignore = (): void => undefined;
  for (const groups of [[0], [1.5], ["1"], Array.from({ length: 65 }, () => 1)])
    assert.throws(() => addon.monitor(socket, groups as number[], ignore), { code: "EINVAL", message: /^groups/ });
  const noFunction: unknown = "callback";
  assert.throws(() => addon.monitor(socket, [1], noFunction as () => void), {
    code: "EINVAL",
    message: /^callback/,
  });
  assert.throws(() => addon.monitor(opened, [1], ignore), { code: "EINVAL" });
  assert.throws(() => addon.monitor(socket, [4000], ignore), { code: "EINVAL", message: /^join group/ });
  const call = addon.call(0, socket, aboutLink(getLink, request | ack, 1, "lo"), timeoutMs);
  assert.throws(() => addon.monitor(socket, [1], ignore), { code: "EBUSY", message: /^socket in use/ });
  await call;
  addon.monitor(socket, [1], ignore);
});

test("a monitor whose events wait too long says that some were lost, where they are missing", bounded, async (t) => {
  const { netns, socket } = openPlace(t);
  const directory = mkdtempSync(join(tmpdir(), "fltest-addon-"));
  t.after(() => rmSync(directory, { recursive: true }));
  netns.run("ip", "link", "set", "lo", "up"); // a link that is down changes its alias without an event
  const batch = Array.from({ length: 10_000 }, (_, n) => `link set lo alias event-${n}-\n`);
  writeFileSync(join(directory, "batch"), batch.join(""));
  const events: (string | undefined)[] = [];
  const { promise: lost, resolve } = Promise.withResolvers<void>();
  addon.monitor(socket, [1], (bytes) => {
    events.push(bytes?.toString("latin1"));
    if (bytes === undefined) resolve();
  });
  netns.run("ip", "-batch", join(directory, "batch")); // the event loop is blocked meanwhile
  await lost;
  assert.equal(events.length, 1025);
  for (const [n, event] of events.slice(0, 1024).entries()) assert.ok(event?.includes(`event-${n}-`), `event ${n}`);
  addon.close(socket);
});

test("sysctls are written inside the namespace while everybody else stays at home", bounded, async (t) => {
  const { opened } = openPlace(t);
  const home = readlinkSync("/proc/self/ns/net");
  const key = "ipv4/conf/default/rp_filter";
  const homeNetns = addon.openNetns("/proc/self/ns/net");
  const before = await addon.readSysctls(homeNetns, [key]);
  const work: Promise<unknown>[] = [];
  const places: Promise<string>[] = [];
  for (let n = 0; n < 200; n += 1) {
    work.push(addon.writeSysctls(opened, [key, "ipv4/ip_forward"], [String(n % 3), "1"]));
    places.push(readlink("/proc/thread-self/ns/net"));
  }
  await Promise.all(work);
  assert.deepEqual([...new Set(await Promise.all(places))], [home]);
  const threads = readdirSync("/proc/self/task").map((task) => readlinkSync(`/proc/self/task/${task}/ns/net`));
  assert.deepEqual([...new Set(threads)], [home], "the thread that did it is at home again");
  assert.deepEqual(await addon.readSysctls(opened, [key, "ipv4/nothing", "ipv4/ip_forward"]), ["1", undefined, "1"]);
  assert.deepEqual(await addon.readSysctls(homeNetns, [key]), before);
  addon.close(homeNetns);
});

test("the first sysctl that fails stops the rest and is named", bounded, async (t) => {
  const { opened } = openPlace(t);
  const keys = ["ipv4/ip_forward", "ipv4/nothing", "ipv4/conf/all/forwarding"];
  await assert.rejects(addon.writeSysctls(opened, keys, ["1", "1", "0"]), {
    code: "ENOENT",
    index: 1,
    message: "open sysctl: No such file or directory",
  });
  assert.deepEqual(await addon.readSysctls(opened, ["ipv4/ip_forward"]), ["1"]);
  await assert.rejects(addon.writeSysctls(opened, ["ipv4/ip_forward"], ["maybe"]), { code: "EINVAL", index: 0 });
  for (const wrong of ["../x", "ipv4/../ip_forward", "/ipv4/ip_forward", "..", "", "a\0b", "x".repeat(300)])
    await assert.rejects(addon.writeSysctls(opened, ["ipv4/ip_forward", wrong], ["0", "0"]), {
      code: "EINVAL",
      index: 1,
    });
  assert.deepEqual(await addon.readSysctls(opened, ["ipv4/ip_forward"]), ["1"]);
  await assert.rejects(addon.writeSysctls(opened, ["ipv4/ip_forward"], []), { code: "EINVAL" });
  await assert.rejects(addon.readSysctls(opened, ["ipv4/conf"]), { code: "EISDIR", index: 0 });
});

test("stop cancels what is under way and queued; a later call works again", bounded, async (t) => {
  const { socket } = openPlace(t);
  const calls = Array.from({ length: 20 }, () =>
    assert.rejects(addon.call(0, socket, silent, 600_000), { code: "ECANCELED" }),
  );
  addon.stop();
  await Promise.all(calls);
  addon.stop();
  assert.equal((await addon.call(0, socket, aboutLink(getLink, request | ack, 3, "lo"), timeoutMs)).length > 0, true);
});

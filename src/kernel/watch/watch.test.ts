// Watching against an addon that the test speaks for: sockets opened and closed, losses, refusals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { faultOf } from "../../../test/kernel-stage.ts";
import { message } from "../../../test/netlink-bytes.ts";
import { Fault } from "../../base/fault.ts";
import type { Descriptor } from "../addon.ts";
import { type KernelChange, watchersMax } from "../contract.ts";
import { createWatch } from "./watch.ts";

type OnDatagram = (bytes: Buffer | undefined) => void;

/** A watch, the sockets that it monitors, by protocol, and how the test speaks on each. `failing`: the protocol whose monitor fails. */
function makeWatch({ failing, closed = false }: { failing?: number; closed?: boolean } = {}) {
  const open = new Map<Descriptor, number>();
  const monitors = new Map<number, { groups: readonly number[]; say: OnDatagram }>();
  const watch = createWatch({
    netns: {} as Descriptor,
    mustBeOpen: (what) => {
      if (closed) throw new Fault("agent-stopping", what);
    },
    addon: {
      openNetlink: (_netns, protocol) => {
        const socket = {} as Descriptor;
        open.set(socket, protocol);
        return socket;
      },
      monitor: (socket, groups, say) => {
        const protocol = open.get(socket) ?? assert.fail("monitored after it was opened");
        if (protocol === failing) throw Object.assign(new Error("too many monitors"), { code: "EAGAIN" });
        monitors.set(protocol, { groups, say });
      },
      close: (socket) => assert.ok(open.delete(socket), "closed once"),
    },
  });
  const say = (protocol: number, bytes: Buffer | undefined): void => monitors.get(protocol)?.say(bytes);
  return { ...watch, open, monitors, say };
}

const linkBody = (index: number): Buffer => {
  const body = Buffer.alloc(16);
  body.writeInt32LE(index, 4);
  return body;
};
const linkEvent = (index: number): Buffer => message(16, 0, 0, linkBody(index));
const linkChange = (index: number): KernelChange => ({ what: "link", index, removed: false });

void test("the first watcher opens both sockets, the last one closes them", () => {
  const { watch, open, monitors } = makeWatch();
  const stops = [watch(() => undefined), watch(() => undefined)];
  assert.deepEqual([...open.values()], [0, 12]);
  assert.deepEqual(monitors.get(0)?.groups, [1, 3, 5, 7, 8, 9, 11, 19]);
  assert.deepEqual(monitors.get(12)?.groups, [7]);
  stops[0]?.();
  stops[0]?.();
  assert.equal(open.size, 2);
  stops[1]?.();
  assert.equal(open.size, 0);
  watch(() => undefined)();
  assert.equal(open.size, 0);
});

void test("one function can watch twice, and each stops for itself", () => {
  const { watch, say } = makeWatch();
  const heard: KernelChange[] = [];
  const onChange = (change: KernelChange): number => heard.push(change);
  const stop = watch(onChange);
  watch(onChange);
  say(0, linkEvent(1));
  stop();
  say(0, linkEvent(2));
  assert.deepEqual(heard, [linkChange(1), linkChange(1), linkChange(2)]);
});

void test("who stops in the middle of a datagram hears no more of it; others do", () => {
  const { watch, say, open } = makeWatch();
  const [heard, all]: [KernelChange[], KernelChange[]] = [[], []];
  const stop = watch((change) => {
    heard.push(change);
    stop();
  });
  const stopAll = watch((change) => all.push(change));
  say(0, Buffer.concat([linkEvent(1), linkEvent(2)]));
  assert.deepEqual(heard, [linkChange(1)]);
  assert.deepEqual(all, [linkChange(1), linkChange(2)]);
  stopAll();
  assert.equal(open.size, 0);
});

void test("a loss on either socket, and bytes that make no sense, are told as lost", () => {
  const { watch, say } = makeWatch();
  const heard: KernelChange[] = [];
  watch((change) => heard.push(change));
  say(0, undefined);
  say(12, undefined);
  say(0, Buffer.alloc(20, 3));
  say(0, linkEvent(5));
  assert.deepEqual(heard, [{ what: "lost" }, { what: "lost" }, { what: "lost" }, linkChange(5)]);
});

void test("where a monitor cannot be had nothing stays open, and nobody counts as watching", () => {
  const made = makeWatch({ failing: 12 });
  for (let tries = 0; tries <= watchersMax; tries += 1) {
    assert.throws(() => made.watch(() => undefined), faultOf("kernel-busy"));
    assert.equal(made.open.size, 0);
  }
});

void test("closing ends all; a closed kernel is not watched", () => {
  const { watch, close, say, open } = makeWatch();
  const heard: KernelChange[] = [];
  const stop = watch((change) => heard.push(change));
  close();
  say(0, linkEvent(1)); // on its way already
  stop();
  assert.deepEqual(heard, []);
  assert.equal(open.size, 0);
  assert.throws(() => makeWatch({ closed: true }).watch(() => undefined), faultOf("agent-stopping"));
});

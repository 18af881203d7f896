// What every Store must do: run on SQLite and on memory alike.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { isFault } from "../src/base/fault.ts";
import type { Attachment, AttachmentId, Store, Wired } from "../src/ipam/store.ts";
import { present } from "../src/base/assert.ts";
import { type Ip, parseIp } from "../src/net/ip.ts";
import { parseMac } from "../src/net/mac.ts";

export const testIp = (text: string): Ip => present(parseIp(text), text);
const mac = present(parseMac("02:00:00:00:00:01"), "mac");

/** A whole attachment for tests, with the parts that matter to the test replaced. */
export function testWired(part: Partial<Wired> = {}): Wired {
  return {
    network: "fairlead",
    containerId: "c1",
    ifname: "eth0",
    addresses: [testIp("10.4.1.1"), testIp("fd00:4:1::1")],
    netnsPath: "/run/netns/p1",
    wire: { hostLink: "fl0123456789abc", hostIndex: 1001, podIndex: 1002, hostMac: mac, podMac: mac, mtu: 1500 },
    createdMs: 1000,
    ...part,
  };
}

/** The same, for whom it need not have a wire. */
export const testAttachment: (part?: Partial<Wired>) => Attachment = testWired;

const storeFailed = (error: unknown): boolean => isFault(error, "store-failed");

/** Registers the suite. `make` gives an empty store; `reopen` gives what a new process would see, where the store can outlive one. */
export function testStore(
  name: string,
  make: (t: TestContext) => Store,
  reopen?: (store: Store, t: TestContext) => Store,
): void {
  const id: AttachmentId = { network: "fairlead", containerId: "c1", ifname: "eth0" };

  test(`${name}: a new store is empty`, (t) => {
    assert.deepEqual(make(t).read(), { attachments: [], cooling: [], facts: {} });
  });

  test(`${name}: plan, ready, release with cooling, free`, (t) => {
    const store = make(t);
    const attachment = testAttachment();
    store.plan(attachment);
    assert.deepEqual(store.read().attachments, [{ attachment, state: "planned" }]);
    store.ready(id);
    assert.deepEqual(store.read().attachments, [{ attachment, state: "ready" }]);
    store.release(id, [{ address: testIp("10.4.1.1"), untilMs: 5000 }]);
    assert.deepEqual(store.read(), {
      attachments: [],
      cooling: [{ address: "10.4.1.1", untilMs: 5000 }],
      facts: {},
    });
    store.free([testIp("10.4.1.1"), testIp("10.4.1.99")]);
    assert.deepEqual(store.read().cooling, []);
  });

  test(`${name}: an attachment that serves already is journalled as ready, in one step`, (t) => {
    const store = make(t);
    const attachment = testAttachment();
    store.plan(attachment, "ready");
    assert.deepEqual(store.read().attachments, [{ attachment, state: "ready" }]);
  });

  test(`${name}: attachments and cooling addresses come back in the order of their names`, (t) => {
    const store = make(t);
    for (const containerId of ["z", "a", "m"]) store.plan(testAttachment({ containerId }));
    store.release({ ...id, containerId: "m" }, [
      { address: testIp("10.4.1.9"), untilMs: 1 },
      { address: testIp("10.4.1.10"), untilMs: 2 },
    ]);
    const { attachments, cooling } = store.read();
    assert.deepEqual(
      attachments.map(({ attachment }) => attachment.containerId),
      ["a", "z"],
    );
    assert.deepEqual(
      cooling.map(({ address }) => address),
      ["10.4.1.10", "10.4.1.9"],
    );
  });

  test(`${name}: a known attachment is refused and nothing changes`, (t) => {
    const store = make(t);
    store.plan(testAttachment());
    const before = store.read();
    assert.throws(() => store.plan(testAttachment({ addresses: [testIp("10.4.1.2")] })), storeFailed);
    assert.deepEqual(store.read(), before);
  });

  test(`${name}: an address that cools again cools until the later call's time`, (t) => {
    const store = make(t);
    const address = testIp("10.4.1.1");
    for (const untilMs of [5000, 9000]) {
      store.plan(testAttachment());
      store.release(id, [{ address, untilMs }]);
    }
    assert.deepEqual(store.read().cooling, [{ address, untilMs: 9000 }]);
  });

  test(`${name}: ready of the unknown fails, release of the unknown does not`, (t) => {
    const store = make(t);
    assert.throws(() => store.ready(id), storeFailed);
    store.release(id, []);
  });

  test(`${name}: one container can have two interfaces`, (t) => {
    const store = make(t);
    store.plan(testAttachment());
    store.plan(testAttachment({ ifname: "eth1", addresses: [testIp("10.4.1.2")] }));
    store.release(id, []);
    assert.deepEqual(
      store.read().attachments.map(({ attachment }) => attachment.ifname),
      ["eth1"],
    );
  });

  test(`${name}: facts are kept and replaced by name`, (t) => {
    const store = make(t);
    store.setFacts({ bootId: "a", node: "n" });
    store.setFacts({ bootId: "b" });
    assert.deepEqual(store.read().facts, { bootId: "b", node: "n" });
  });

  test(`${name}: an attachment without a wire, and one whose addresses another plugin gave, come back whole`, (t) => {
    const store = make(t);
    const { wire: _, ...lent } = testWired({
      containerId: "a",
      pod: { namespace: "default", name: "web-0", uid: "u1" },
    });
    const delegate = { type: "host-local", path: "/opt/cni/bin", env: { CNI_IFNAME: "eth0" }, stdin: "{}" };
    const wired = testWired({ containerId: "b", delegate, labels: { app: "web" } });
    for (const attachment of [lent, wired]) store.plan(attachment);
    assert.deepEqual(
      store.read().attachments.map(({ attachment }) => attachment),
      [lent, wired],
    );
  });

  if (reopen !== undefined) {
    test(`${name}: everything is there for the next process`, (t) => {
      const store = make(t);
      store.plan(testAttachment());
      store.ready(id);
      store.plan(testAttachment({ containerId: "c2", addresses: [testIp("10.4.1.2")] }));
      store.release({ ...id, containerId: "c2" }, [{ address: testIp("10.4.1.2"), untilMs: 7 }]);
      store.setFacts({ bootId: "a" });
      const before = store.read();
      assert.deepEqual(reopen(store, t).read(), before);
    });
  }
}

// What every Store must do: run on SQLite and on memory alike.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { isFault } from "../src/base/fault.ts";
import type { Attachment, AttachmentId, Store } from "../src/ipam/store.ts";
import { present } from "../src/base/assert.ts";
import { type Ip, parseIp } from "../src/net/ip.ts";
import { parseMac } from "../src/net/mac.ts";

export const testIp = (text: string): Ip => present(parseIp(text), text);
const mac = present(parseMac("02:00:00:00:00:01"), "mac");

/** A whole attachment for tests, with the parts that matter to the test replaced. */
export function testAttachment(part: Partial<Attachment> = {}): Attachment {
  return {
    network: "fairlead",
    containerId: "c1",
    ifname: "eth0",
    addresses: [testIp("10.4.1.1"), testIp("fd00:4:1::1")],
    netnsPath: "/run/netns/p1",
    hostLink: "fl0123456789abc",
    hostIndex: 1001,
    podIndex: 1002,
    hostMac: mac,
    podMac: mac,
    mtu: 1500,
    createdMs: 1000,
    ...part,
  };
}

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

  test(`${name}: attachments come back in the order of planning`, (t) => {
    const store = make(t);
    const ids = ["z", "a", "m"];
    for (const [index, containerId] of ids.entries()) {
      store.plan(testAttachment({ containerId, addresses: [testIp(`10.4.1.${index + 1}`)] }));
    }
    assert.deepEqual(
      store.read().attachments.map(({ attachment }) => attachment.containerId),
      ids,
    );
  });

  test(`${name}: a known attachment is refused and nothing changes`, (t) => {
    const store = make(t);
    store.plan(testAttachment());
    const before = store.read();
    assert.throws(() => store.plan(testAttachment({ addresses: [testIp("10.4.1.2")] })), storeFailed);
    assert.deepEqual(store.read(), before);
    store.plan(testAttachment({ containerId: "c2", addresses: [testIp("10.4.1.2")] })); // the refused one leased nothing
  });

  test(`${name}: a leased address is refused and nothing changes`, (t) => {
    const store = make(t);
    store.plan(testAttachment());
    const before = store.read();
    const second = testAttachment({ containerId: "c2", addresses: [testIp("10.4.1.7"), testIp("10.4.1.1")] });
    assert.throws(() => store.plan(second), storeFailed);
    assert.deepEqual(store.read(), before);
    store.plan({ ...second, addresses: [testIp("10.4.1.7")] }); // its free address was not left leased
  });

  test(`${name}: a cooling address is refused`, (t) => {
    const store = make(t);
    store.plan(testAttachment());
    store.release(id, [{ address: testIp("10.4.1.1"), untilMs: 5000 }]);
    assert.throws(() => store.plan(testAttachment()), storeFailed);
  });

  test(`${name}: only addresses of the attachment can be set to cool`, (t) => {
    const store = make(t);
    store.plan(testAttachment());
    store.plan(testAttachment({ containerId: "c2", addresses: [testIp("10.4.1.2")] }));
    store.release(id, [{ address: testIp("10.4.1.2"), untilMs: 5000 }]);
    assert.deepEqual(store.read().cooling, []);
  });

  test(`${name}: free leaves leased addresses alone`, (t) => {
    const store = make(t);
    store.plan(testAttachment());
    store.free([testIp("10.4.1.1")]);
    assert.throws(() => store.plan(testAttachment({ containerId: "c2" })), storeFailed);
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

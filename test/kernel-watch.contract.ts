// The kernel contract's part on watching: what is told of each kind of change, to whom, and until when.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { type Kernel, type KernelChange, type Op, nftablesThread, watchersMax } from "../src/kernel/contract.ts";
import { type MakeKernel, applyOk, cidr, faultOf, ip, mac, makePair, pairOp } from "./kernel-stage.ts";
import { until } from "./until.ts";

/** What a watcher heard so far. */
interface Heard {
  changes: KernelChange[];
  stop: () => void;
  has(change: KernelChange): boolean;
  /** Waits until that was heard; a failure shows what was heard instead. */
  hears(...changes: KernelChange[]): Promise<void>;
}

function listen(t: TestContext, kernel: Kernel): Heard {
  const changes: KernelChange[] = [];
  const stop = kernel.watch((change) => changes.push(change));
  t.after(stop);
  const has = (change: KernelChange): boolean => changes.some((heard) => isDeepStrictEqual(heard, change));
  return {
    changes,
    stop,
    has,
    hears: async (...wanted) => {
      try {
        await until("every change was told", () => wanted.every(has));
      } catch {
        const missing = wanted.filter((change) => !has(change));
        assert.fail(`not told: ${JSON.stringify(missing)}; told: ${JSON.stringify(changes)}`);
      }
    },
  };
}

/** A change of the node that follows what must not be told, and is told itself. */
async function mark(kernel: Kernel, heard: Heard, priority: number): Promise<void> {
  await applyOk(kernel.node, [{ op: "rule.add", rule: { family: 4, priority, table: 100 } }]);
  await heard.hears({ what: "rule", family: 4, priority, removed: false });
}

const entry = { link: "fl0", address: ip("10.0.0.5") };

/** Something that comes and goes, and what is told when it comes. */
interface Thing {
  add: Op;
  remove: Op;
  change: Extract<KernelChange, { removed: boolean }>;
}

/** One of each kind and family: on link `index`, and link `second` itself. */
function thingsOf(index: number, second: number): Thing[] {
  return [
    ...["10.0.0.5", "fd00::5"].map((text) => {
      const address = { link: index, address: ip(text), prefix: text.includes(":") ? 128 : 32 };
      const change = { what: "address", link: index, address: ip(text), removed: false } as const;
      return {
        add: { op: "address.add", ...address },
        remove: { op: "address.remove", ...address },
        change,
      } as const;
    }),
    ...["10.7.0.0/16", "fd07::/64"].map((text) => {
      const route = { to: cidr(text), link: index };
      const change = { what: "route", ...route, protocol: 142, removed: false } as const;
      return { add: { op: "route.add", route }, remove: { op: "route.remove", route }, change } as const;
    }),
    ...([4, 6] as const).map((family) => {
      const rule = { family, priority: 1000 + family, table: 100 } as const;
      const change = { what: "rule", family, priority: rule.priority, removed: false } as const;
      return { add: { op: "rule.add", rule }, remove: { op: "rule.remove", rule }, change } as const;
    }),
    ...["10.0.0.9", "fd00::9"].map((text) => {
      const neighbour = { link: index, address: ip(text) };
      const set = { op: "neighbour.set", ...neighbour, mac: mac("02:00:00:00:00:09") } as const;
      const change = { what: "neighbour", ...neighbour, removed: false } as const;
      return { add: set, remove: { op: "neighbour.remove", ...neighbour }, change } as const;
    }),
    {
      add: { op: "link.set", link: second, group: 101 },
      remove: { op: "link.remove", link: second },
      change: { what: "link", index: second, removed: false },
    },
  ];
}

export function testWatch(make: MakeKernel): void {
  void test("links, addresses, routes, rules and neighbours that come and go are told", async (t) => {
    const { under, node, index } = await makePair(t, make);
    const heard = listen(t, under.kernel);
    const [made] = await applyOk(node, [pairOp(under.kernel.openNetns(under.podNetns()), "fl1", "eth0")]);
    const second = made?.index ?? 0;
    const objects = thingsOf(index, second);
    await applyOk(
      node,
      objects.map(({ add }) => add),
    );
    await heard.hears(...objects.map(({ change }) => change));
    for (const { change } of objects) assert.ok(!heard.has({ ...change, removed: true }), JSON.stringify(change));
    await applyOk(node, objects.map(({ remove }) => remove).toReversed());
    await heard.hears(...objects.map(({ change }) => ({ ...change, removed: true })));
  });

  for (const [family, to] of [
    [4, cidr("10.7.0.0/16")],
    [6, cidr("fd07::/64")],
  ] as const) {
    void test(`an IPv${family} route that is replaced is told as it becomes, with its table`, async (t) => {
      const { under, node, index } = await makePair(t, make);
      const route = { to, link: index, table: 1000 };
      const told = { what: "route", ...route, protocol: 142, removed: false } as const;
      await applyOk(node, [
        { op: "link.set", link: 1, up: true },
        { op: "route.add", route },
      ]);
      const heard = listen(t, under.kernel);
      await applyOk(node, [{ op: "route.replace", route: { ...route, mtu: 1300 } }]);
      await heard.hears(told);
      await applyOk(node, [{ op: "route.replace", route: { ...route, link: 1 } }]);
      await heard.hears({ ...told, link: 1 });
      assert.ok(!heard.has({ ...told, removed: true }));
    });
  }

  void test("what goes with a link: the link, its neighbours, addresses and IPv6 routes, but no IPv4 route", async (t) => {
    const { under, node, index } = await makePair(t, make);
    const [to4, to6] = [cidr("10.7.0.0/16"), cidr("fd07::/64")];
    const neighbours = [ip("10.0.0.9"), ip("fd00::9")];
    const address = ip("10.0.0.5");
    await applyOk(node, [
      { op: "address.add", link: index, address, prefix: 32 },
      ...[to4, to6].map((to): Op => ({ op: "route.add", route: { to, link: index } })),
      ...neighbours.map((ip): Op => ({
        op: "neighbour.set",
        link: index,
        address: ip,
        mac: mac("02:00:00:00:00:09"),
      })),
    ]);
    const heard = listen(t, under.kernel);
    await applyOk(node, [{ op: "link.remove", link: index }]);
    await heard.hears(
      { what: "link", index, removed: true },
      { what: "address", link: index, address, removed: true },
      { what: "route", to: to6, link: index, protocol: 142, removed: true },
      ...neighbours.map((address): KernelChange => ({ what: "neighbour", link: index, address, removed: true })),
    );
    await mark(under.kernel, heard, 50);
    assert.ok(!heard.has({ what: "route", to: to4, link: index, protocol: 142, removed: true }));
  });
}

export function testWatchers(make: MakeKernel): void {
  void test("a pod's own changes are not told, what they do to the node is", async (t) => {
    const { under, pod, index, peerIndex } = await makePair(t, make);
    const heard = listen(t, under.kernel);
    const address = ip("10.0.0.7");
    await applyOk(pod, [{ op: "address.add", link: peerIndex, address, prefix: 32 }]);
    await mark(under.kernel, heard, 51);
    assert.ok(!heard.changes.some((change) => change.what === "address"));
    await applyOk(pod, [{ op: "link.remove", link: peerIndex }]);
    await heard.hears({ what: "link", index, removed: true });
  });

  void test("changes of nftables are told with who made them; what changes nothing is not", async (t) => {
    const under = await make(t);
    const { guard } = under.kernel;
    await guard.ensure([entry]);
    const heard = listen(t, under.kernel);
    const ours = { what: "nftables", by: nftablesThread } as const;
    await guard.ensure([entry]);
    await guard.admit([entry]);
    under.disturbNftables();
    await heard.hears({ what: "nftables", by: "nft", tables: [] });
    assert.ok(!heard.has(ours), "nothing was changed by us");
    await guard.withdraw([entry]);
    await heard.hears(ours);
  });

  void test("changes that nobody could tell are told as lost, and what comes later is told again", async (t) => {
    const under = await make(t);
    const heard = listen(t, under.kernel);
    under.loseChanges();
    await heard.hears({ what: "lost" });
    await mark(under.kernel, heard, 53);
  });

  void test("each watcher hears until it stops, also within a call", async (t) => {
    const { kernel } = await make(t);
    const heard = [listen(t, kernel), listen(t, kernel)];
    const once: KernelChange[] = [];
    const stopOnce = kernel.watch((change) => {
      once.push(change);
      stopOnce();
    });
    // A loopback that comes up changes more than one thing.
    await applyOk(kernel.node, [{ op: "link.set", link: 1, up: true }]);
    const loopback = { what: "link", index: 1, removed: false } as const;
    for (const one of heard)
      await one.hears(loopback, { what: "address", link: 1, address: ip("::1"), removed: false });
    assert.equal(once.length, 1);
    heard[0]?.stop();
    heard[0]?.stop();
    const before = heard[0]?.changes.length;
    for (const one of heard.slice(1)) await mark(kernel, one, 54);
    assert.equal(heard[0]?.changes.length, before);
    heard[1]?.stop();
    await applyOk(kernel.node, [{ op: "rule.remove", rule: { family: 4, priority: 54, table: 100 } }]);
    const late = listen(t, kernel);
    await mark(kernel, late, 55);
    assert.ok(!late.has({ what: "rule", family: 4, priority: 54, removed: true }), "nothing from before it listened");
  });

  void test("so many watchers and not one more, and none of a closed kernel", async (t) => {
    const { kernel } = await make(t);
    const stops = Array.from({ length: watchersMax }, () => kernel.watch(() => undefined));
    assert.throws(() => kernel.watch(() => undefined), faultOf("kernel-busy"));
    stops[3]?.();
    const heard = listen(t, kernel);
    await mark(kernel, heard, 56);
    kernel.close();
    assert.throws(() => kernel.watch(() => undefined), faultOf("agent-stopping"));
    for (const stop of stops) stop();
  });
}

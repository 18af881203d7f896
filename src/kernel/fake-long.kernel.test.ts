// The fake kernel beside the real one: random operations must have the same answers and leave the same state behind.

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { type TestContext, test } from "node:test";
import * as fc from "fast-check";
import { makeNetns } from "../../test/netns.ts";
import { present } from "../base/assert.ts";
import { asFault } from "../base/fault.ts";
import { silentLog } from "../base/log.ts";
import { type Cidr, parseCidr, parseInterfaceAddress } from "../net/cidr.ts";
import { type Ip, ipFamily, parseIp } from "../net/ip.ts";
import { localMac } from "../net/mac.ts";
import type { Kernel, LinkChange, Netns, Op, Route, Rule } from "./contract.ts";
import { createFakeKernel } from "./fake.ts";
import { openKernel } from "./kernel.ts";

const runs = 400;
const opsPerRun = 40;

const ip = (text: string): Ip => present(parseIp(text), text);
const cidr = (text: string): Cidr => present(parseCidr(text), text);

/** One namespace of each of the two kernels. */
type Place = "node" | "pod";
type Stage = Record<Place, Netns>;

/** Something done to either kernel: links are named, since indexes need not be equal. */
interface Step {
  place: Place;
  text: string;
  /** Makes the operation, or the settings to be written, for one kernel. */
  act: (stage: Stage, index: (name: string) => number) => Op | Record<string, string>;
}

const linkNames = ["fl0", "fl1", "eth0"];
const anyPlace = fc.constantFrom<Place>("node", "pod");
const anyName = fc.constantFrom(...linkNames);
const anyLink = fc.constantFrom(...linkNames, "lo");
const maybe = <T>(...values: T[]) => fc.constantFrom(undefined, ...values);

function step<T extends object>(
  values: fc.Arbitrary<T>,
  act: (values: T, stage: Stage, index: (name: string) => number) => ReturnType<Step["act"]>,
): fc.Arbitrary<Step> {
  return fc.record({ place: anyPlace, values }).map(({ place, values }) => ({
    place,
    text: `${place} ${JSON.stringify(values)}`,
    act: (stage, index) => act(values, stage, index),
  }));
}

/** Leaves out what is undefined, as the contract's types want it. */
function defined<T extends object>(values: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

const addVeth = step(
  fc.record({
    name: anyName,
    peer: anyName,
    peerPlace: anyPlace,
    mtu: fc.constantFrom(1500, 1500, 1400, 1200, 60, 70_000),
    group: fc.constantFrom(0, 5, 99),
  }),
  ({ name, peer, peerPlace, mtu, group }, stage) => {
    const mac = (end: string) => localMac(Buffer.from(`${end}...`));
    return {
      op: "link.addVeth",
      name,
      mac: mac(name),
      mtu,
      group,
      peer: { netns: stage[peerPlace], name: peer, mac: mac(peer), mtu: 1500 },
    };
  },
);

const setLink = step(
  fc.record({
    link: anyLink,
    change: fc.record({
      up: maybe(true, true, false),
      rename: maybe(...linkNames, "a/b", "much-too-long-a-name"),
      group: maybe(0, 5, 99),
      mtu: maybe(1500, 1300, 1000, 20),
      alias: maybe("", "an alias"),
      linkLocal: maybe<LinkChange["linkLocal"]>("none", "eui64"),
    }),
  }),
  ({ link, change }) => {
    // The loopback keeps its name and MTU: what it may be called is of no interest.
    const { rename, mtu, ...rest } = change;
    return { op: "link.set", link, ...defined(link === "lo" ? rest : { rename, mtu, ...rest }) };
  },
);
const setUp = step(fc.record({ link: anyLink }), ({ link }) => ({ op: "link.set", link, linkLocal: "none", up: true }));
const removeLink = step(fc.record({ link: anyLink }), ({ link }) => ({ op: "link.remove", link }));
const removeGroup = step(fc.record({ group: fc.constantFrom(5, 99) }), ({ group }) => ({
  op: "link.removeGroup",
  group,
}));

const addressTexts = [
  "10.0.0.1/32",
  "10.0.0.1/24",
  "10.0.0.2/24",
  "10.0.1.1/30",
  "169.254.0.1/16",
  "fd00::1/128",
  "fd00::2/64",
  "fd00::1/64",
  "fe80::77/64",
];
const address = step(
  fc.record({
    op: fc.constantFrom("address.add", "address.add", "address.remove"),
    link: anyLink,
    text: fc.constantFrom(...addressTexts),
  }),
  ({ op, link, text }, _, index) => ({ op, link: index(link), ...present(parseInterfaceAddress(text), text) }),
);

const anyRoute = fc.record({
  to: fc.constantFrom(
    "0.0.0.0/0",
    "10.1.0.0/16",
    "10.0.0.0/24",
    "169.254.1.1/32",
    "::/0",
    "fd01::/64",
    "fd00::/64",
    "fe80::1/128",
  ),
  link: maybe(...linkNames, ...linkNames, "lo"),
  via: maybe("169.254.1.1", "10.0.0.9", "fe80::1", "fd00::9"),
  src: maybe("10.0.0.1", "fd00::1"),
  metric: maybe(0, 10),
  scope: maybe<Route["scope"]>("link", "link", "host"),
  type: maybe<Route["type"]>("unicast", "unreachable", "blackhole"),
  table: maybe(100),
  mtu: maybe(1300),
});
const route = step(
  fc.record({ op: fc.constantFrom("route.add", "route.replace", "route.remove"), route: anyRoute }),
  ({ op, route: { to, link, via, src, ...rest } }, _, index) => {
    const family = to.includes(":") ? 6 : 4;
    const fits = (text: string | undefined): text is string => text !== undefined && ipFamily(ip(text)) === family;
    return {
      op,
      route: {
        to: cidr(to),
        ...(link === undefined ? {} : { link: index(link) }),
        ...(fits(via) ? { via: ip(via) } : {}),
        ...(fits(src) ? { src: ip(src) } : {}),
        ...defined(rest),
      },
    };
  },
);

const ruleValues = fc.record({
  family: fc.constantFrom<Rule["family"]>(4, 6),
  priority: fc.constantFrom(100, 200),
  table: fc.constantFrom(100, 254),
  selects: fc.constantFrom<"nothing" | "from" | "to">("nothing", "from", "to"),
  mark: maybe(0, 1, 0x10),
  mask: maybe(0xff, 0xffff_ffff),
  protocol: maybe(4),
});
const rule = step(
  fc.record({ op: fc.constantFrom("rule.add", "rule.add", "rule.remove"), rule: ruleValues }),
  ({ op, rule: { selects, ...values } }) => {
    const network = cidr(values.family === 4 ? "10.0.0.0/8" : "fd00::/8");
    const { family, priority, table } = values;
    return {
      op,
      rule: { ...defined(values), family, priority, table, ...(selects === "nothing" ? {} : { [selects]: network }) },
    };
  },
);

const neighbour = step(
  fc.record({
    op: fc.constantFrom("neighbour.set", "neighbour.set", "neighbour.remove"),
    link: anyName,
    text: fc.constantFrom("10.0.0.9", "fd00::9", "fe80::1"),
  }),
  ({ op, link, text }, _, index) => ({
    op,
    link: index(link),
    address: ip(text),
    mac: localMac(Buffer.from("neighb")),
  }),
);

const settingKeys = [
  "ipv4/ip_forward",
  "ipv4/conf/all/forwarding",
  "ipv6/conf/all/forwarding",
  ...["ipv4/conf/NAME/send_redirects", "ipv6/conf/NAME/accept_ra", "ipv6/conf/NAME/disable_ipv6"].flatMap((key) =>
    ["all", "default", "lo", ...linkNames].map((name) => key.replace("NAME", name)),
  ),
];
const setting = step(
  fc.record({ key: fc.constantFrom(...settingKeys, "ipv4/no_such_key"), value: fc.constantFrom("0", "1", "banana") }),
  ({ key, value }) => ({ [key]: value }),
);

const anyStep = fc.oneof(
  { weight: 2, arbitrary: addVeth },
  { weight: 3, arbitrary: setUp },
  { weight: 3, arbitrary: setLink },
  { weight: 1, arbitrary: removeLink },
  { weight: 1, arbitrary: removeGroup },
  { weight: 4, arbitrary: address },
  { weight: 6, arbitrary: route },
  { weight: 2, arbitrary: rule },
  { weight: 2, arbitrary: neighbour },
  { weight: 2, arbitrary: setting },
);

function isOp(action: ReturnType<Step["act"]>): action is Op {
  return "op" in action;
}

/** What one kernel answers to a step. */
async function take(stage: Stage, { place, act }: Step): Promise<string> {
  const links = await stage[place].links();
  const index = (name: string): number => links.find((link) => link.name === name)?.index ?? 4711;
  try {
    const action = act(stage, index);
    if (!isOp(action)) return await stage[place].writeSysctls(action).then(() => "ok");
    const [result] = await stage[place].apply([action]);
    return result?.fault?.code ?? "ok";
  } catch (error) {
    return `rejected ${asFault(error).code}`;
  }
}

/** Equal for equal objects, in whatever order their members were set. */
function sortKey(item: object): string {
  return JSON.stringify(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** All that can be seen, links by their names, each list in an order of its own where the kernel gives none. */
async function look(stage: Stage): Promise<unknown> {
  const all: unknown[] = [];
  for (const netns of [stage.node, stage.pod]) {
    const links = await netns.links();
    const named = <T extends { link?: number }>(items: readonly T[]) =>
      items
        .map((item) => ({ ...item, link: links.find(({ index }) => index === item.link)?.name }))
        .toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
    all.push(
      links
        .map((link) => ({ ...link, index: 0, peerIndex: link.peerIndex === undefined ? undefined : 0 }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      named(await netns.addresses()),
      // The anycast addresses of an IPv6 router are the one thing that the fake leaves out.
      named((await netns.routes()).filter(({ type }) => type !== "anycast")),
      await netns.rules(),
      named(await netns.neighbours()),
      await netns.readSysctls(settingKeys),
    );
  }
  return all;
}

function openReal(t: TestContext): { kernel: Kernel; stage: () => Promise<Stage> } {
  const kernel = openKernel({ nodeNetns: makeNetns(t).path, log: silentLog() });
  t.after(() => kernel.close());
  const stage = async (): Promise<Stage> => {
    const fresh = async () => {
      const netns = kernel.openNetns(makeNetns(t).path);
      // No duplicate address detection: the fake has no time, so its addresses are never tentative.
      await netns.writeSysctls({ "ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0" });
      return netns;
    };
    return { node: await fresh(), pod: await fresh() };
  };
  return { kernel, stage };
}

function fakeStage(): Stage {
  const kernel = createFakeKernel();
  kernel.addNetns("pod");
  return { node: kernel.node, pod: kernel.openNetns("pod") };
}

/** The kernel tells IPv6 of a carrier in its own time; what has not become equal by then never will. */
async function becomesEqual(real: Stage, expected: unknown): Promise<unknown> {
  const deadlineMs = performance.now() + 1500;
  for (;;) {
    const seen = await look(real);
    if (isDeepStrictEqual(seen, expected) || performance.now() > deadlineMs) return seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

void test("random operations", { timeout: 300_000 }, async (t) => {
  const { stage } = openReal(t);
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 15, maxLength: opsPerRun }), async (steps) => {
      const [real, fake] = [await stage(), fakeStage()];
      const said: string[] = [];
      for (const each of steps) {
        const expected = await take(fake, each);
        said.push(`${each.text}: ${expected}`);
        assert.equal(await take(real, each), expected, said.join("\n"));
      }
      const expected = await look(fake);
      assert.deepEqual(await becomesEqual(real, expected), expected, said.join("\n"));
      for (const netns of Object.values(real)) netns.close();
    }),
    { numRuns: runs },
  );
});

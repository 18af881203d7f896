// Things to do to a kernel, said once and done to the fake and to the real one; and all that can be seen afterwards must be equal.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { asFault } from "../src/base/fault.ts";
import { present } from "../src/base/assert.ts";
import { silentLog } from "../src/base/log.ts";
import { type Cidr, cidrBase, parseCidr, parseInterfaceAddress } from "../src/net/cidr.ts";
import { type Ip, ipFamily, isLinkLocal, parseIp } from "../src/net/ip.ts";
import { localMac } from "../src/net/mac.ts";
import { createFakeKernel } from "../src/kernel/fake.ts";
import { openKernel } from "../src/kernel/kernel.ts";
import { makeNetns } from "./netns.ts";
import { type LinkChange, type Netns, type Op, type Route, type Rule, routeProtocol } from "../src/kernel/contract.ts";
import { until } from "./until.ts";

/** Two namespaces of one kernel. */
export type Place = "node" | "pod";
type Stage = Record<Place, Netns>;

/** Links are named, since the two kernels need not give them equal indexes. */
type Index = (name: string) => number;

/** An operation, or settings to write. */
type Action = Op | { op: "settings"; values: Record<string, string> };

/** Something done in one place. */
export interface Step {
  place: Place;
  /** For the report of a failure. */
  toString: () => string;
  act: (stage: Stage, index: Index) => Action;
}

type Maybe<T> = { [Key in keyof T]?: T[Key] | undefined };

/** `via` and `src` are left out where they are not of the family of `to`. */
export type RouteValues = Maybe<Omit<Route, "to" | "link" | "via" | "src">> &
  Maybe<{ link: string; via: string; src: string }> & { to: string };

/** An index that no link has. */
const noLink = 4711;

const ip = (text: string): Ip => present(parseIp(text), text);
const cidr = (text: string): Cidr => present(parseCidr(text), text);

export function addVeth(
  place: Place,
  name: string,
  peerPlace: Place,
  peer: string,
  { mtu = 1500, group = 0 }: { mtu?: number; group?: number } = {},
): Step {
  const end = (name: string) => ({ name, mac: localMac(Buffer.from(`${name}...`)) });
  return step(place, `addVeth ${name} mtu ${mtu} group ${group} peer ${peer} in ${peerPlace}`, (stage) => ({
    op: "link.addVeth",
    ...end(name),
    mtu,
    group,
    peer: { netns: stage[peerPlace], ...end(peer), mtu: 1500 },
  }));
}

export function setLink(place: Place, link: string, change: Maybe<LinkChange>): Step {
  return step(place, `set ${link} ${JSON.stringify(change)}`, () => ({ op: "link.set", link, ...defined(change) }));
}

/** Up, and without an IPv6 link-local address. */
export const up = (place: Place, link: string): Step => setLink(place, link, { linkLocal: "none", up: true });
export const down = (place: Place, link: string): Step => setLink(place, link, { up: false });

export const removeLink = (place: Place, link: string): Step =>
  step(place, `remove ${link}`, () => ({ op: "link.remove", link }));

export const removeGroup = (place: Place, group: number): Step =>
  step(place, `remove group ${group}`, () => ({ op: "link.removeGroup", group }));

export function address(place: Place, op: "address.add" | "address.remove", link: string, text: string): Step {
  const values = present(parseInterfaceAddress(text), text);
  return step(place, `${op} ${text} on ${link}`, (_, index) => ({ op, link: index(link), ...values }));
}

export function route(
  place: Place,
  op: "route.add" | "route.replace" | "route.remove",
  { to, link, via, src, ...rest }: RouteValues,
): Step {
  const family = to.includes(":") ? 6 : 4;
  const fits = (text: string | undefined): text is string => text !== undefined && ipFamily(ip(text)) === family;
  return step(place, `${op} ${JSON.stringify({ to, link, via, src, ...rest })}`, (_, index) => ({
    op,
    route: {
      to: cidr(to),
      ...(link === undefined ? {} : { link: index(link) }),
      ...(fits(via) ? { via: ip(via) } : {}),
      ...(fits(src) ? { src: ip(src) } : {}),
      ...defined(rest),
    },
  }));
}

export function rule(
  place: Place,
  op: "rule.add" | "rule.remove",
  values: Maybe<Rule> & Pick<Rule, "family" | "priority" | "table">,
): Step {
  const { family, priority, table, ...rest } = values;
  return step(place, `${op} ${JSON.stringify(values)}`, () => ({
    op,
    rule: { family, priority, table, ...defined(rest) },
  }));
}

export function neighbour(place: Place, op: "neighbour.set" | "neighbour.remove", link: string, text: string): Step {
  const mac = localMac(Buffer.from("neighb"));
  return step(place, `${op} ${text} on ${link}`, (_, index) => ({ op, link: index(link), address: ip(text), mac }));
}

export const settings = (place: Place, key: string, value: string): Step =>
  step(place, `${key} = ${value}`, () => ({ op: "settings", values: { [key]: value } }));

function step(place: Place, text: string, act: Step["act"]): Step {
  return { place, toString: () => `${place}: ${text}`, act };
}

/** Leaves out what is undefined, as the contract's types want it. */
function defined<T extends object>(values: T): Defined<T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Defined<T>; // oxlint-disable-line typescript/no-unsafe-type-assertion -- the same members, less those
}

type Defined<T> = { [Key in keyof T]?: Exclude<T[Key], undefined> };

/** Takes the step, and gives the answer: "ok" or the code of the fault. */
async function take(stage: Stage, { place, act }: Step): Promise<string> {
  const netns = stage[place];
  const links = await netns.links();
  try {
    const action = act(stage, (name) => links.find((link) => link.name === name)?.index ?? noLink);
    if (action.op === "settings") {
      await netns.writeSysctls(action.values);
      return "ok";
    }
    const [result] = await netns.apply([action]);
    return result?.fault?.code ?? "ok";
  } catch (error) {
    return `rejected ${asFault(error).code}`;
  }
}

/** Links that steps may make; their settings are looked at. */
export const linkNames: readonly string[] = ["fl0", "fl1", "eth0"];

/** Settings that are looked at. */
export const settingKeys: readonly string[] = [
  "ipv4/ip_forward",
  "ipv4/conf/all/forwarding",
  "ipv6/conf/all/forwarding",
  "ipv4/conf/all/accept_redirects",
  ...["ipv4/conf/NAME/send_redirects", "ipv6/conf/NAME/accept_ra", "ipv6/conf/NAME/disable_ipv6"].flatMap((key) =>
    ["all", "default", "lo", ...linkNames].map((name) => key.replace("NAME", name)),
  ),
];

/**
 * Whether carriers are left alone long enough for the kernel to tell IPv6 of them, up to a second later. Where they flap, what
 * the kernel makes by itself when a carrier comes (link-local addresses, multicast) is not looked at.
 */
export type Carrier = "settles" | "flaps";

/** All that can be seen, links by their names, lists in an order of their own where the kernel has none. */
async function look(stage: Stage, carrier: Carrier): Promise<unknown> {
  return Promise.all([stage.node, stage.pod].map((netns) => lookAt(netns, carrier)));
}

async function lookAt(netns: Netns, carrier: Carrier): Promise<unknown> {
  const links = await netns.links();
  const named = (items: readonly { link?: number }[]): unknown[] =>
    sorted(items.map((item) => ({ ...item, link: links.find(({ index }) => index === item.link)?.name })));
  const routes = await netns.routes();
  const addresses = await netns.addresses();
  return {
    links: sorted(
      links.map((link) => ({ ...link, index: 0, peerIndex: link.peerIndex === undefined ? undefined : 0 })),
    ),
    addresses: named(addresses.filter(({ address }) => carrier === "settles" || !isLinkLocal(address))),
    routes: named(routes.filter((route) => isComparable(route, carrier))),
    rules: await netns.rules(),
    // Others are learned from traffic, which the fake has none of.
    neighbours: named((await netns.neighbours()).filter(({ permanent }) => permanent)),
    settings: await netns.readSysctls(settingKeys),
  };
}

function isComparable({ to, type, protocol }: Route, carrier: Carrier): boolean {
  if (type === "anycast") return false; // of an IPv6 router: the one thing that the fake leaves out
  return carrier === "settles" || protocol === routeProtocol || !(type === "multicast" || isLinkLocal(cidrBase(to)));
}

function sorted<T extends object>(items: readonly T[]): T[] {
  const key = (item: T): string => JSON.stringify(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return items.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

export type Compare = (steps: readonly Step[], carrier?: Carrier) => Promise<void>;

/** Gives what takes steps in fresh namespaces of both kernels: each answer must be equal, and in the end all that can be seen. */
export function openBoth(t: TestContext): Compare {
  const kernel = openKernel({ nodeNetns: makeNetns(t).path, log: silentLog() });
  t.after(() => kernel.close());
  return async (steps, carrier = "settles") => {
    const made = [makeNetns(t), makeNetns(t)];
    const [node, pod] = made.map(({ path }) => kernel.openNetns(path));
    try {
      await compare({ node: present(node, "node"), pod: present(pod, "pod") }, steps, carrier);
    } finally {
      node?.close();
      pod?.close();
      for (const netns of made) netns.remove();
    }
  };
}

async function compare(real: Stage, steps: readonly Step[], carrier: Carrier): Promise<void> {
  for (const netns of Object.values(real)) {
    // No duplicate address detection: the fake has no time, so its addresses are never tentative.
    await netns.writeSysctls({ "ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0" });
  }
  const fake = openFake();
  const said: string[] = [];
  for (const step of steps) {
    const expected = await take(fake, step);
    said.push(`${step.toString()}: ${expected}`);
    assert.equal(await take(real, step), expected, said.join("\n"));
  }
  const expected = await look(fake, carrier);
  assert.deepEqual(await becomesEqual(real, expected, carrier), expected, said.join("\n"));
}

function openFake(): Stage {
  const kernel = createFakeKernel();
  kernel.addNetns("pod");
  return { node: kernel.node, pod: kernel.openNetns("pod") };
}

/** The kernel tells IPv6 of a carrier in its own time; what has not become equal by then never will. */
async function becomesEqual(real: Stage, expected: unknown, carrier: Carrier): Promise<unknown> {
  let seen: unknown;
  try {
    await until("the real kernel shows the same", async () => {
      seen = await look(real, carrier);
      return isDeepStrictEqual(seen, expected);
    });
  } catch {
    // The comparison that follows says what differs.
  }
  return seen;
}

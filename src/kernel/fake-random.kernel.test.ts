// The fake kernel beside the real one: random steps must have the same answers and leave the same state behind.

import { test } from "node:test";
import * as fc from "fast-check";
import {
  type Place,
  type Step,
  addVeth,
  address,
  linkNames,
  neighbour,
  openBoth,
  removeGroup,
  removeLink,
  route,
  rule,
  setLink,
  settingKeys,
  settings,
  up,
} from "../../test/kernel-steps.ts";
import { present } from "../base/assert.ts";
import { parseMac } from "../net/mac.ts";
import type { LinkChange, Route, Rule } from "./contract.ts";

const runs = 150;
const stepsMax = 40;

/** A pair with both ends up, so that most steps meet something. */
const pair = [addVeth("node", "fl0", "pod", "eth0"), up("node", "fl0"), up("pod", "eth0")];

const anyPlace = fc.constantFrom<Place>("node", "node", "pod");
const anyName = fc.constantFrom(...linkNames);
const anyLink = fc.constantFrom(...linkNames, ...linkNames, "lo");
const maybe = <T>(...values: T[]) => fc.constantFrom(undefined, ...values);

const anyChange = fc.record({
  up: maybe(true, true, false),
  rename: maybe(...linkNames, "a/b", "much-too-long-a-name"),
  group: maybe(0, 5, 99),
  mtu: maybe(1500, 1300, 1000, 20),
  mac: maybe(...["02:00:00:00:00:77", "01:00:00:00:00:01"].map((text) => present(parseMac(text), text))),
  alias: maybe("", "an alias"),
  linkLocal: maybe<LinkChange["linkLocal"]>("none", "eui64"),
});
const addressTexts = [
  "10.0.0.1/32",
  "10.0.0.1/24",
  "10.0.0.2/24",
  "10.0.1.1/30",
  "fd00::1/128",
  "fd00::2/64",
  "fe80::77/64",
];
const anyRoute = fc.record({
  to: fc.constantFrom("0.0.0.0/0", "10.1.0.0/16", "169.254.1.1/32", "::/0", "fd01::/64", "fd00::/64"),
  link: maybe(...linkNames, ...linkNames, "lo"),
  via: maybe("169.254.1.1", "10.0.0.9", "fe80::1", "fd00::9"),
  src: maybe("10.0.0.1", "fd00::1"),
  metric: maybe(0, 10),
  scope: maybe<Route["scope"]>("link", "link", "host"),
  type: maybe<Route["type"]>("unicast", "unicast", "unreachable", "blackhole"),
  table: maybe(100),
  mtu: maybe(1300),
});
const anyRule = fc.record({
  family: fc.constantFrom<Rule["family"]>(4, 6),
  priority: fc.constantFrom(100, 200),
  table: fc.constantFrom(100, 254),
  mark: maybe(0, 1, 0x10),
  mask: maybe(0xff, 0xffff_ffff),
  protocol: maybe(4),
});

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        anyPlace,
        anyName,
        anyPlace,
        anyName,
        fc.record({ mtu: fc.constantFrom(1500, 1400, 1200, 60), group: fc.constantFrom(0, 5) }),
      )
      .map((values) => addVeth(...values)),
  },
  { weight: 3, arbitrary: fc.tuple(anyPlace, anyLink).map((values) => up(...values)) },
  {
    weight: 3,
    arbitrary: fc.tuple(anyPlace, anyLink, anyChange).map(([place, link, change]) => {
      // The loopback keeps its name, MTU and hardware address: what else it may have is of no interest.
      return setLink(
        place,
        link,
        link === "lo" ? { ...change, rename: undefined, mtu: undefined, mac: undefined } : change,
      );
    }),
  },
  { weight: 1, arbitrary: fc.tuple(anyPlace, anyLink).map((values) => removeLink(...values)) },
  { weight: 1, arbitrary: anyPlace.map((place) => removeGroup(place, 5)) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        anyPlace,
        fc.constantFrom("address.add", "address.add", "address.remove"),
        anyLink,
        fc.constantFrom(...addressTexts),
      )
      .map((values) => address(...values)),
  },
  {
    weight: 6,
    arbitrary: fc
      .tuple(anyPlace, fc.constantFrom("route.add", "route.replace", "route.remove"), anyRoute)
      .map(([place, op, { ...values }]) => route(place, op, values)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(anyPlace, fc.constantFrom("rule.add", "rule.add", "rule.remove"), anyRule)
      .map((values) => rule(...values)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        anyPlace,
        fc.constantFrom("neighbour.set", "neighbour.remove"),
        anyName,
        fc.constantFrom("10.0.0.9", "fd00::9", "fe80::1"),
      )
      .map((values) => neighbour(...values)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(anyPlace, fc.constantFrom(...settingKeys, "ipv4/no_such_key"), fc.constantFrom("0", "1", "banana"))
      .map((values) => settings(...values)),
  },
);

/** The same walks every time: whoever looks for more differences changes it, and puts what is found into fake.kernel.test.ts. */
const seed = 20_261_123;

void test("random steps", { timeout: 300_000 }, async (t) => {
  const compare = openBoth(t);
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: stepsMax, size: "max" }), async (steps) => {
      await compare([...pair, ...steps], "flaps");
    }),
    { numRuns: runs, seed, endOnFailure: true },
  );
});

// ip-masq-agent's file, in the forms in which people have it, with what that program makes of each; and the plan that follows.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../base/fault.ts";
import { masqueradeRangesMax } from "../kernel/contract.ts";
import { type Cidr, parseCidr } from "../net/cidr.ts";
import {
  defaultMasqueradeFile,
  durationMs,
  type MasqueradeFile,
  type MasqueradeFlags,
  masqueradePlan,
  parseMasqueradeFile,
  parsePorts,
} from "./masquerade-config.ts";

const flags: MasqueradeFlags = { ipv6: false, nomasqAllReservedRanges: false, toPorts: [], randomFully: true };
const flags6 = { ...flags, ipv6: true };
const cidrs = (...texts: string[]): Cidr[] => texts.map((text) => parseCidr(text) ?? assert.fail(text));
const parse = (text: string, with_: MasqueradeFlags = flags): MasqueradeFile =>
  parseMasqueradeFile(text, "the file", with_);
const defaults = defaultMasqueradeFile(flags);

/** Where the form comes from, the file, and how it differs from the defaults. */
const files: [from: string, text: string, differs: Partial<MasqueradeFile>, flags?: MasqueradeFlags][] = [
  [
    "the example in its own repository",
    "nonMasqueradeCIDRs:\n  - 10.0.0.0/8\n  - 172.16.0.0/12\n  - 192.168.0.0/16\nmasqLinkLocal: false\nresyncInterval: 60s",
    {},
  ],
  [
    "the user guide of Kubernetes",
    "nonMasqueradeCIDRs:\n  - 10.0.0.0/8\nresyncInterval: 60s\n",
    { nonMasqueradeCidrs: cidrs("10.0.0.0/8") },
  ],
  [
    "a ConfigMap of GKE, one range, link-local too",
    "nonMasqueradeCIDRs:\n- 10.40.0.0/14\nresyncInterval: 60s\nmasqLinkLocal: true\n",
    { nonMasqueradeCidrs: cidrs("10.40.0.0/14"), masqLinkLocal: true },
  ],
  [
    "Terraform's template for GKE",
    "nonMasqueradeCIDRs:\n- 10.0.0.0/8\n- 172.16.0.0/12\nresyncInterval: 60s\nmasqLinkLocal: false\n",
    { nonMasqueradeCidrs: cidrs("10.0.0.0/8", "172.16.0.0/12") },
  ],
  [
    "a dual-stack cluster, quoted",
    'nonMasqueradeCIDRs:\n- "10.244.0.0/16"\n- "fd00:10:244::/48"\nmasqLinkLocalIPv6: true\n',
    { nonMasqueradeCidrs: cidrs("10.244.0.0/16", "fd00:10:244::/48"), masqLinkLocalIpv6: true },
    flags6,
  ],
  [
    "JSON with every key",
    '{"nonMasqueradeCIDRs": ["172.16.0.0/12", "10.0.0.0/8"], "cidrLimit": 2, "masqLinkLocal": true, "masqLinkLocalIPv6": true, "resyncInterval": "5s"}',
    {
      nonMasqueradeCidrs: cidrs("172.16.0.0/12", "10.0.0.0/8"),
      masqLinkLocal: true,
      masqLinkLocalIpv6: true,
      resyncMs: 5000,
    },
  ],
  [
    "a vendor's JSON with capital keys",
    '{"NonMasqueradeCIDRs":["10.4.0.0/14"],"MasqLinkLocal":true,"ResyncInterval":"1m0s"}',
    { nonMasqueradeCidrs: cidrs("10.4.0.0/14"), masqLinkLocal: true },
  ],
  ["a chart that keeps all", "nonMasqueradeCIDRs:\n- 0.0.0.0/0\n", { nonMasqueradeCidrs: cidrs("0.0.0.0/0") }],
  [
    "a list that is empty",
    "nonMasqueradeCIDRs: []\nmasqLinkLocal: yes\n",
    { nonMasqueradeCidrs: [], masqLinkLocal: true },
  ],
  ["a list without a value", "nonMasqueradeCIDRs:\n", { nonMasqueradeCidrs: [] }],
  [
    "other keys alone: the list stays the default one",
    "masqLinkLocal: off\nresyncInterval: 2m\n",
    { resyncMs: 120_000 },
  ],
  ["an empty file", "", {}],
  ["a misspelled key", "nonMasqueradeCIDR:\n- 10.0.0.0/8\n", { unknownKeys: ["nonMasqueradeCIDR"] }],
  ["an interval below what we do", "resyncInterval: 0s\n", { resyncMs: 1000 }],
];

for (const [from, text, differs, with_] of files) {
  void test(`reads ${from}`, () => assert.deepEqual(parse(text, with_), { ...defaults, ...differs }));
}

void test("a file without a list has the reserved ranges where the flag says so; one with a list has its own", () => {
  const reserving = { ...flags, nomasqAllReservedRanges: true };
  assert.equal(parse("", reserving).nonMasqueradeCidrs.length, 11);
  assert.ok(
    parse("masqLinkLocal: true", reserving).nonMasqueradeCidrs.includes(cidrs("240.0.0.0/4")[0] ?? assert.fail()),
  );
  assert.deepEqual(parse("nonMasqueradeCIDRs: [10.0.0.0/8]", reserving).nonMasqueradeCidrs, cidrs("10.0.0.0/8"));
});

const many = (count: number): string =>
  `nonMasqueradeCIDRs:\n${Array.from({ length: count }, (_, index) => `- 10.${index >> 8}.${index & 255}.0/24\n`).join("")}`;

const wrong: [text: string, problem: RegExp][] = [
  ["nonMasqueradeCIDRs: [10.0.0.1/8]", /nonMasqueradeCIDRs\[0\]: "10\.0\.0\.1\/8" has bits set .* is 10\.0\.0\.0\/8$/],
  ["nonMasqueradeCIDRs: [10.0.0.0]", /nonMasqueradeCIDRs\[0\]: "10\.0\.0\.0" is not a network/],
  ["nonMasqueradeCIDRs: [10.0.0.0/33]", /"10\.0\.0\.0\/33" is not a network/],
  ["nonMasqueradeCIDRs: 10.0.0.0/8", /nonMasqueradeCIDRs: /],
  ["nonMasqueradeCIDRs: [fd00::/8]", /nonMasqueradeCIDRs\[0\]: fd00::\/8 is IPv6.*masquerade\.ipv6/],
  [many(65), /nonMasqueradeCIDRs: has 65 ranges, and may have 64; set cidrLimit/],
  [`${many(3)}cidrLimit: 2`, /has 3 ranges, and may have 2/],
  [`${many(1025)}cidrLimit: 5000`, /has 1025 ranges, and may have 1024; use larger/],
  ["cidrLimit: many", /cidrLimit: /],
  ["masqLinkLocal: maybe", /masqLinkLocal: /],
  ["resyncInterval: 60", /resyncInterval: must be a time such as 60s/],
  ["resyncInterval: 60 s", /resyncInterval: "60 s" is not a time/],
  ["*", /is not valid YAML/],
  ["- 10.0.0.0/8", /the file has 1 problem/],
];

for (const [text, problem] of wrong) {
  void test(`refuses ${text.slice(0, 50).replaceAll("\n", " ")} (${problem.source.slice(0, 30)})`, () => {
    assert.throws(
      () => parse(text),
      (error) => isFault(error, "bad-config") && problem.test(error.message),
    );
  });
}

void test("as many ranges as the file allows itself", () => {
  assert.equal(parse(many(64)).nonMasqueradeCidrs.length, 64);
  assert.equal(parse(`${many(1024)}cidrLimit: 5000`).nonMasqueradeCidrs.length, 1024);
});

void test("times are those of Go", () => {
  const times: Record<string, number | undefined> = {
    "60s": 60_000,
    "1m30s": 90_000,
    "1.5h": 5_400_000,
    ".5s": 500,
    "1.s": 1000,
    "250ms": 250,
    "1500us": 1.5,
    "2µs": 0.002,
    "+3s": 3000,
    "-3s": -3000,
    "0": 0,
    "": undefined,
    "60": undefined,
    s: undefined,
    ".s": undefined,
    "1d": undefined,
    "1s ": undefined,
    "1m-5s": undefined,
  };
  for (const [text, ms] of Object.entries(times)) assert.equal(durationMs(text), ms, `"${text}"`);
});

void test("ports are those of --to-ports", () => {
  assert.deepEqual(parsePorts("1024-29999,32768-65535"), [
    { first: 1024, last: 29_999 },
    { first: 32_768, last: 65_535 },
  ]);
  assert.deepEqual(parsePorts("4000"), [{ first: 4000, last: 4000 }]);
  assert.deepEqual(parsePorts(""), []);
  for (const text of ["0", "70000", "20-10", "1024-", "-5", "a", "1,,2", "1-9,9-20", "30-40,1-35", " 4000", "1-2-3"]) {
    assert.equal(parsePorts(text), undefined, text);
  }
});

const pods = { own: cidrs("10.4.1.0/24", "fd00:10:4:1::/64"), all: cidrs("198.18.2.0/24", "fd00:10:4:2::/64") };

void test("the plan keeps pods' addresses towards pods, what the file names, and link-local", () => {
  const file = parse("nonMasqueradeCIDRs: [172.16.0.0/12, fd99::/16]", flags6);
  assert.deepEqual(masqueradePlan(file, flags6, pods), {
    from: pods.own,
    keep: cidrs(
      "10.4.1.0/24",
      "169.254.0.0/16",
      "172.16.0.0/12",
      "198.18.2.0/24",
      "fd00:10:4:1::/64",
      "fd00:10:4:2::/64",
      "fd99::/16",
      "fe80::/10",
    ),
    ports: [],
    randomFully: true,
  });
  const all = { ...file, masqLinkLocal: true, masqLinkLocalIpv6: true };
  assert.ok(!masqueradePlan(all, flags6, pods).keep.some((range) => /^(169|fe80)/.test(range)));
});

void test("without IPv6 the plan says nothing of it", () => {
  const { from, keep } = masqueradePlan(defaults, flags, pods);
  assert.ok(![...from, ...keep].some((range) => range.includes(":")), keep.join(" "));
  assert.deepEqual(from, cidrs("10.4.1.0/24"));
});

void test("ranges within others are left out, so that a node more changes nothing", () => {
  const file = { ...defaults, nonMasqueradeCidrs: cidrs("10.0.0.0/8", "10.0.0.0/9", "192.168.0.0/16", "10.0.0.0/8") };
  const before = masqueradePlan(file, flags, { own: cidrs("10.4.1.0/24"), all: cidrs("10.4.2.0/24") });
  const after = masqueradePlan(file, flags, { own: cidrs("10.4.1.0/24"), all: cidrs("10.4.3.0/24", "10.4.2.0/24") });
  assert.deepEqual(before.keep, cidrs("10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"));
  assert.deepEqual(after, before);
});

void test("too many ranges are refused with the cure", () => {
  const all = Array.from(
    { length: masqueradeRangesMax },
    (_, index) => cidrs(`100.${index >> 8}.${index & 255}.0/25`)[0] ?? assert.fail(),
  );
  assert.throws(() => masqueradePlan(defaults, flags, { own: pods.own, all }), /masquerade\.podRanges/);
});

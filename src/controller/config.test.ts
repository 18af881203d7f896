// The controller's configuration: what is understood, and what each mistake is answered with.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../base/config.ts";
import { isFault } from "../base/fault.ts";
import { controllerConfigSchema } from "./config.ts";

const parse = (text: string) => parseConfig(controllerConfigSchema, text, "controller.yaml");

test("the least that must be said, and what it means", () => {
  assert.deepEqual(parse("assign: fairlead\nranges: [{ cidr: 10.64.0.0/14 }]"), {
    kubernetes: {},
    assign: "fairlead",
    ranges: [{ cidr: "10.64.0.0/14", blockPrefix: 24 }],
    serviceRanges: [],
    lease: { namespace: "fairlead-system", name: "fairlead-controller", durationMs: 15_000 },
    policy: { allowDns: null },
    provider: "none",
    status: { address: "127.0.0.1", port: 9686 },
    log: { level: "info" },
  });
  assert.deepEqual(parse("assign: cluster").ranges, []);
});

test("both families, blocks of other sizes, service ranges inside a range", () => {
  const { ranges, serviceRanges } = parse(`
assign: fairlead
ranges: [{ cidr: 10.64.0.0/14, blockPrefix: 26 }, { cidr: "fd00:64::/48" }]
serviceRanges: [10.64.0.0/20, "fd00:65::/108"]
`);
  assert.deepEqual(ranges, [
    { cidr: "10.64.0.0/14", blockPrefix: 26 },
    { cidr: "fd00:64::/48", blockPrefix: 64 },
  ]);
  assert.deepEqual(serviceRanges, ["10.64.0.0/20", "fd00:65::/108"]);
});

test("every mistake is named with its place and its cure", () => {
  const one = "assign: fairlead\nranges: [{ cidr: 10.64.0.0/14 }]\n";
  const cases: [string, RegExp][] = [
    ["ranges: []", /assign: /],
    ["assign: other", /assign: must be "fairlead" or "cluster"/],
    ["assign: fairlead", /ranges: is missing: `assign: fairlead` cuts/],
    ["assign: fairlead\nranges: [{ cidr: 10.64.0.1/14 }]", /ranges\[0\]\.cidr: "10\.64\.0\.1\/14" has bits set/],
    ["assign: fairlead\nranges: [{ cidr: 10.0.0.0/7 }]", /ranges\[0\]\.blockPrefix: .*131072 blocks.*at most 65536/],
    ["assign: fairlead\nranges: [{ cidr: 10.64.0.0/24, blockPrefix: 23 }]", /blockPrefix: .*larger than the range/],
    ["assign: fairlead\nranges: [{ cidr: 10.64.0.0/14 }, { cidr: 10.65.0.0/16 }]", /ranges\[1\]\.cidr: .* overlaps /],
    ["assign: fairlead\nranges: [{ cidr: 10.64.0.0/14 }, { cidr: 10.0.0.0/16 }]", /ranges\[1\]\.cidr: .*same family/],
    [
      'assign: fairlead\nranges: [{ cidr: 10.64.0.0/14 }, { cidr: "fd00::/48" }, { cidr: "fd01::/48" }]',
      /at most one range of each family/,
    ],
    [`${one}serviceRanges: [10.0.0.0/8]`, /ranges\[0\]\.cidr: .*inside the service range 10\.0\.0\.0\/8/],
    [`${one}kubernetes: { server: "ftp://a" }`, /kubernetes\.server: must be https/],
    [`${one}kubernetes: { kubeconfig: k }`, /kubernetes\.kubeconfig: must be an absolute path/],
    [`${one}provider: gce`, /provider: only "none" is known/],
    [`${one}lease: { durationMs: 100 }`, /lease\.durationMs: must be at least 5000/],
    [`${one}status: { address: localhost }`, /status\.address: "localhost" is not an IP address/],
    [`${one}rnages: []`, /rnages/],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => parse(text),
      (error) => isFault(error, "bad-config") && message.test(error.message),
      text,
    );
  }
});

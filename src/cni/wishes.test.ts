// What a request may ask for: each capability used or passed over on purpose, and refused with key and value where it cannot be had.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../base/fault.ts";
import { parseWishes } from "./wishes.ts";
import type { JsonObject, NetConfig, Wishes } from "./types.ts";

function wishes(runtimeConfig: JsonObject, more: Partial<NetConfig> = {}): Wishes {
  const raw = more.raw ?? {};
  return parseWishes({ name: "n", cniVersion: "1.1.0", type: "t", raw, runtimeConfig, ...more }, {}, { chooses: true });
}

const nothing: Wishes = { addresses: [], ranges: [] };

test("without arguments nothing is asked for, nor by those of other plugins and those without meaning here", () => {
  assert.deepEqual(wishes({}), nothing);
  assert.deepEqual(
    wishes({
      portMappings: [{ hostPort: 80, containerPort: 80, protocol: "tcp" }],
      bandwidth: { ingressRate: 1 },
      aliases: ["a"],
      cgroupPath: "/kubepods/x",
      infinibandGUID: "c2:11",
      deviceID: "",
      ips: null,
      mac: "",
    }),
    nothing,
  );
});

test("ips: with or without prefix length, one of a family; the older place is read where the newer is not used", () => {
  assert.deepEqual(wishes({ ips: ["10.4.1.9/24", "fd00::9"] }).addresses, ["10.4.1.9", "fd00::9"]);
  assert.deepEqual(wishes({}, { args: { cni: { ips: ["10.4.1.9"] } } }).addresses, ["10.4.1.9"]);
  assert.deepEqual(wishes({ ips: ["10.4.1.8"] }, { args: { cni: { ips: ["10.4.1.9"] } } }).addresses, ["10.4.1.8"]);
});

test("mac and dns", () => {
  assert.equal(wishes({ mac: "02:AA:00:00:00:01" }).mac, "02:aa:00:00:00:01");
  const dns = { servers: ["10.0.0.10"], searches: ["svc.local"], options: ["ndots:5"] };
  const expected = { nameservers: ["10.0.0.10"], search: ["svc.local"], options: ["ndots:5"] };
  assert.deepEqual(wishes({ dns }).dns, expected);
  assert.deepEqual(wishes({}, { raw: { dns: { nameservers: ["1.1.1.1"], domain: "d" } } }).dns, {
    nameservers: ["1.1.1.1"],
    domain: "d",
  });
  assert.equal(wishes({ dns: { servers: [] } }).dns, undefined);
});

test("ipRanges: whole networks, or from start to end", () => {
  const { ranges } = wishes({
    ipRanges: [
      [
        { subnet: "10.4.1.0/26" },
        { subnet: "10.4.1.0/24", rangeStart: "10.4.1.100", rangeEnd: "10.4.1.101", gateway: "10.4.1.1" },
      ],
      [{ subnet: "fd00::/64", rangeStart: "fd00::100" }],
    ],
  });
  assert.deepEqual(
    ranges.map(({ first, last }) => [first, last]),
    [
      ["10.4.1.0", "10.4.1.63"],
      ["10.4.1.100", "10.4.1.101"],
      ["fd00::100", "fd00::ffff:ffff:ffff:ffff"],
    ],
  );
});

test("what cannot be honoured is refused with key and value", () => {
  const cases: [JsonObject, RegExp][] = [
    [{ ips: "10.4.1.9" }, /runtimeConfig\.ips: "10\.4\.1\.9" must be an array/],
    [{ ips: ["10.4.1"] }, /runtimeConfig\.ips\[0\]: "10\.4\.1" must be an IP address/],
    [{ ips: [7] }, /runtimeConfig\.ips\[0\]: the number 7/],
    [{ ips: ["10.4.1.9", "10.4.1.8"] }, /runtimeConfig\.ips\[1\]: "10\.4\.1\.8" is the second address of its family/],
    [{ mac: "02:00:00:00:00" }, /runtimeConfig\.mac: "02:00:00:00:00" must be a unicast/],
    [{ mac: "01:00:5e:00:00:01" }, /runtimeConfig\.mac: "01:00:5e:00:00:01"/],
    [{ mac: "00:00:00:00:00:00" }, /runtimeConfig\.mac/],
    [{ mac: 5 }, /runtimeConfig\.mac: the number 5/],
    [{ deviceID: "0000:03:02.0" }, /runtimeConfig\.deviceID: "0000:03:02\.0"/],
    [{ dns: [] }, /runtimeConfig\.dns: an array/],
    [{ ipRanges: {} }, /runtimeConfig\.ipRanges: an object/],
    [{ ipRanges: [{}] }, /runtimeConfig\.ipRanges\[0\]: an object must be an array of ranges/],
    [{ ipRanges: [[7]] }, /runtimeConfig\.ipRanges\[0\]\[0\]: the number 7/],
    [{ ipRanges: [[{}]] }, /ipRanges\[0\]\[0\]\.subnet: null/],
    [{ ipRanges: [[{ subnet: "10.4.1.1/24" }]] }, /subnet: "10\.4\.1\.1\/24"/],
    [
      { ipRanges: [[{ subnet: "10.4.1.0/24", rangeStart: "10.4.2.1" }]] },
      /rangeStart: "10\.4\.2\.1" must be an address in/,
    ],
    [
      { ipRanges: [[{ subnet: "10.4.1.0/24", rangeStart: "10.4.1.9", rangeEnd: "10.4.1.8" }]] },
      /ends before it begins/,
    ],
    [{ ipRanges: [Array.from({ length: 65 }, () => ({ subnet: "10.4.1.0/24" }))] }, /more than 64 ranges/],
  ];
  for (const [runtimeConfig, words] of cases) {
    assert.throws(
      () => wishes(runtimeConfig),
      (error) => {
        assert.ok(isFault(error, "unsupported-value"), String(error));
        assert.match(error.message, words);
        return true;
      },
    );
  }
});

test("where another plugin chooses the addresses, their arguments are its own; the rest is still ours", () => {
  const config: NetConfig = {
    name: "n",
    cniVersion: "1.1.0",
    type: "t",
    raw: {},
    runtimeConfig: { ips: "junk", mac: "02:00:00:00:00:01" },
  };
  const asked = { ...nothing, mac: "02:00:00:00:00:01" };
  assert.deepEqual(parseWishes(config, {}, { chooses: false }), asked);
  assert.deepEqual(parseWishes(config, { IP: "10.9.0.7" }, { chooses: false }), asked);
});

test("IP and MAC in CNI_ARGS are refused with key and value, IP not where the newer place says it", () => {
  const config = (args: JsonObject): NetConfig => ({ name: "n", cniVersion: "1.1.0", type: "t", raw: {}, args });
  const refused = (cniArgs: { IP?: string; MAC?: string }, words: RegExp): void =>
    assert.throws(
      () => parseWishes(config({}), cniArgs, { chooses: true }),
      (error) => isFault(error, "unsupported-value") && words.test(error.message),
    );
  refused({ IP: "10.4.1.7" }, /^CNI_ARGS IP: "10\.4\.1\.7" is not supported/);
  refused({ MAC: "02:00:00:00:00:01" }, /^CNI_ARGS MAC: "02:00:00:00:00:01" is not supported/);
  const both = parseWishes(config({ cni: { ips: ["10.4.1.8"] } }), { IP: "10.4.1.7" }, { chooses: true });
  assert.deepEqual([both.addresses, both.asked], [["10.4.1.8"], ['args.cni.ips[0]: "10.4.1.8"']]);
});

// How the output of `ip -N -d -j` is read: texts as the program prints them, in the end what they mean.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readNetwork, readRules } from "./seen.ts";

const links = `[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK"],"mtu":65536,"group":"0","address":"00:00:00:00:00:00","addr_info":[]},{"ifindex":1000,"link_index":1001,"ifname":"fl1","flags":["BROADCAST","UP","LOWER_UP"],"mtu":1500,"group":"100","address":"f6:f2:ae:98:80:f6","link_netnsid":0,"linkinfo":{"info_kind":"veth"},"ifalias":"fairlead1 a/b/c","addr_info":[{"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"253","tentative":true}]}]`;
const routes = `[{"type":"7","dst":"10.4.1.0/24","table":"254","protocol":"142","scope":"0","metric":4000000,"flags":[]},{"type":"1","dst":"default","gateway":"169.254.1.1","dev":"eth0","table":"254","protocol":"142","scope":"0","prefsrc":"10.4.1.1","flags":[]},{"type":"1","dst":"default","gateway":"fe80::1","dev":"eth0","table":"254","protocol":"142","scope":"0","metric":1024,"flags":[],"pref":"medium"},{"type":"7","dst":"fd00::/64","dev":"lo","table":"254","protocol":"142","scope":"0","metric":4000000,"flags":[],"pref":"medium"},{"type":"1","dst":"fd00::7","dev":"fl1","table":"77","protocol":"3","scope":"0","metric":1024,"flags":[],"pref":"medium"},{"type":"1","dst":"10.0.0.7","via":{"family":"inet6","host":"fe80::9"},"dev":"eth0","table":"254","protocol":"4","scope":"0","flags":[]}]`;
const neighbours = `[{"dst":"10.4.1.1","dev":"fl1","lladdr":"26:45:3c:32:99:7d","state":["PERMANENT"]},{"dst":"10.4.1.9","dev":"eth0","state":["FAILED"]}]`;

test("links, routes and neighbours", () => {
  const seen = readNetwork(`${links}\n${routes}\n${neighbours}\n`, "here");
  assert.deepEqual(seen.links[1], {
    index: 1000,
    name: "fl1",
    kind: "veth",
    mac: "f6:f2:ae:98:80:f6",
    mtu: 1500,
    up: true,
    running: true,
    group: 100,
    alias: "fairlead1 a/b/c",
    peerIndex: 1001,
    addresses: [{ address: "fe80::1/64", usable: false }],
  });
  assert.deepEqual([seen.links[0]?.kind, seen.links[0]?.up, seen.links[0]?.alias], ["", false, ""]);
  const common = { table: 254, protocol: 142, scope: 0 };
  assert.deepEqual(seen.routes, [
    { ...common, type: 7, to: "10.4.1.0/24", metric: 4_000_000 },
    { ...common, type: 1, to: "0.0.0.0/0", via: "169.254.1.1", link: "eth0", src: "10.4.1.1", metric: 0 },
    { ...common, type: 1, to: "::/0", via: "fe80::1", link: "eth0", metric: 1024 },
    { ...common, type: 7, to: "fd00::/64", metric: 4_000_000 },
    { ...common, type: 1, to: "fd00::7/128", link: "fl1", metric: 1024, table: 77, protocol: 3 },
    { ...common, type: 1, to: "10.0.0.7/32", via: "fe80::9", link: "eth0", metric: 0, protocol: 4 },
  ]);
  assert.deepEqual(seen.neighbours, [
    { address: "10.4.1.1", link: "fl1", mac: "26:45:3c:32:99:7d", permanent: true },
    { address: "10.4.1.9", link: "eth0", mac: "", permanent: false },
  ]);
});

test("an answer too few, or one in other words, is refused by name", () => {
  assert.throws(() => readNetwork(`${links}\n${routes}\n`, "here"), /in here gave 2 answers to 3 lines/);
  assert.throws(() => readNetwork(`${links}\n[{"dst":"x"}]\n${neighbours}\n`, "here"), /routes in here at 0\.type/);
});

test("rules, with and without their makers", () => {
  const text =
    '[{"priority":0,"src":"all","table":"255"},{"priority":9,"src":"10.4.1.2","dst":"10.4.1.1","table":"77","protocol":"142"}]';
  assert.deepEqual(readRules(text, "here"), [
    { priority: 0, src: "all", table: "255", protocol: 2 },
    { priority: 9, src: "10.4.1.2", table: "77", protocol: 142 },
  ]);
  assert.deepEqual(readRules("\n", "here"), []);
});

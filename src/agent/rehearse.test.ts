// The rehearsal runs ADD and DEL to their ends: one that breaks off would leave code cold, and only a log line would say so.

import assert from "node:assert/strict";
import { test } from "node:test";
import pino from "pino";
import { present } from "../base/assert.ts";
import { parseCidr } from "../net/cidr.ts";
import { testIp } from "../../test/store.contract.ts";
import { rehearse } from "./rehearse.ts";
import type { Uplink } from "./uplink.ts";

const uplink: Uplink = {
  link: { index: 2, name: "eth0", kind: "", mtu: 1500, up: true, running: true, group: 0, alias: "" },
  addresses: { 4: testIp("192.0.2.1"), 6: testIp("fd00:30::1") },
  subnets: [],
  mtu: 1500,
};

for (const blocks of [["10.4.1.0/24"], ["fd00:4:1::/64"], ["10.4.1.8/31", "fd00:4:1::8/127"]]) {
  test(`the rehearsal with ${blocks.join(" and ")} ends well, in bounded time`, async () => {
    const lines: string[] = [];
    const log = pino({ level: "debug" }, { write: (line) => void lines.push(line) });
    await rehearse({ blocks: blocks.map((block) => present(parseCidr(block), block)), uplink, log });
    assert.match(lines.join(""), /"msg":"rehearsed"/);
    assert.doesNotMatch(lines.join(""), /failed/);
  });
}

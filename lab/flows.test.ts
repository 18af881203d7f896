// Which flows a table has, and what it tells of each that is not as expected.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../src/base/assert.ts";
import { parseIp } from "../src/net/ip.ts";
import { type FlowEnd, flowKey, flowProblem, planFlows } from "./flows.ts";

function end(kind: FlowEnd["kind"], title: string, host: number): FlowEnd {
  const addresses = { 4: present(parseIp(`10.0.0.${host}`), "IP"), 6: present(parseIp(`fd00::${host}`), "IP") };
  return {
    kind,
    title,
    endpoint: { name: title, netns: title, addresses, port: 7000 + host, localPort: 1, ports: [] },
  };
}

const ends = [end("pod", "a", 1), end("pod", "b", 2), end("node", "node-1", 3), end("outside", "outside", 4)];
const flows = planFlows(ends, [80]);

void test("every pair of which one is a pod, by every protocol, in both families", () => {
  const pairs = [...new Set(flows.map(({ fromTitle, toTitle }) => `${fromTitle} ${toTitle}`))];
  assert.deepEqual(pairs, [
    "a b",
    "a node-1",
    "a outside",
    "b a",
    "b node-1",
    "b outside",
    "node-1 a",
    "node-1 b",
    "outside a",
    "outside b",
  ]);
  assert.equal(flows.length, 10 * 2 * 5);
  assert.deepEqual(
    flows.slice(0, 5).map(flowKey),
    ["tcp 7002", "tcp 80", "udp 7002", "udp 80", "icmp 0"].map((words) => `10.0.0.1 10.0.0.2 ${words}`),
  );
});

const flow = present(flows[1], "a to b by tcp 80 over v4");
const denied = { passes: false, because: "ingress groups: SecurityGroup db" };
const allowed = { passes: true, because: "" };
const ok = { ok: true, ms: 1, name: "b", seenFrom: "10.0.0.1" };
const lost = { ok: false, ms: 1000, error: "no answer in time" };

void test("what is as expected is no problem", () => {
  assert.equal(flowProblem(flow, ok, allowed, "why says"), undefined);
  assert.equal(flowProblem(flow, lost, denied, "why says"), undefined);
});

void test("a difference is one line with both answers", () => {
  const cases = [
    [ok, denied, "it passes; why says it does not (ingress groups: SecurityGroup db)"],
    [
      { ok: false, ms: 1, error: "connect ECONNREFUSED 10.0.0.2:80" },
      denied,
      "it passes (and is refused by its target); why says it does not (ingress groups: SecurityGroup db)",
    ],
    [lost, allowed, "it does not pass (no answer in time); why says it does"],
    [{ ...ok, name: "c" }, allowed, "c answered"],
    [{ ...ok, seenFrom: "10.0.0.9" }, allowed, "seen from 10.0.0.9, not from 10.0.0.1"],
  ] as const;
  for (const [result, expected, words] of cases) {
    assert.equal(flowProblem(flow, result, expected, "why says"), `a -> b, tcp 80 over v4: ${words}`);
  }
});

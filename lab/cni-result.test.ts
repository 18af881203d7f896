// Results and errors of plugins, as a runtime reads them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { failedCall, readResult } from "./cni-result.ts";

const request = { cniVersion: "1.1.0", netns: "/run/netns/p" };
const good = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "flx" }, { name: "eth0", sandbox: "/run/netns/p" }],
  ips: [
    { address: "10.4.1.2/32", interface: 1 },
    { address: "fd00::2/128", interface: 1 },
    { address: "10.4.1.3/32", interface: 1 },
  ],
};

void test("a good result gives the first address of each family, and its own text", () => {
  const text = JSON.stringify(good);
  assert.deepEqual(readResult(text, request), { text, addresses: { 4: "10.4.1.2", 6: "fd00::2" } });
});

void test("a result that a runtime could not use is refused", () => {
  const cases: [object | string, RegExp][] = [
    ["", /is no JSON/],
    ["[]", /the result of ADD/],
    [{ ...good, cniVersion: "1.0.0" }, /has cniVersion 1\.0\.0, asked was 1\.1\.0/],
    [{ ...good, interfaces: [] }, /names eth0 .* 0 times/],
    [{ ...good, interfaces: [{ name: "eth0", sandbox: "/run/netns/other" }] }, /0 times/],
    [{ ...good, interfaces: [good.interfaces[1], good.interfaces[1]] }, /2 times/],
    [{ ...good, ips: [] }, /at least one address/],
    [{ ...good, ips: [{ address: "10.4.1.2/32", interface: 0 }] }, /not the pod's eth0/],
    [{ ...good, ips: [{ address: "10.4.1.2/32", interface: 7 }] }, /not the pod's eth0/],
    [{ ...good, ips: [{ address: "10.4.1.2", interface: 1 }] }, /is no address with a prefix/],
  ];
  for (const [result, message] of cases) {
    const text = typeof result === "string" ? result : JSON.stringify(result);
    assert.throws(() => readResult(text, request), { code: "lab-failed", message });
  }
});

void test("a failure is told by the error object, or by whatever the plugin said", () => {
  const outcome = { code: 1, stdout: '{"code":11,"msg":"busy","details":"later"}', stderr: "log", timedOut: false };
  assert.equal(failedCall("ADD of a", outcome).message, "ADD of a failed with code 11: busy (later)");
  assert.match(failedCall("ADD of a", { ...outcome, stdout: "" }).message, /without an error object: exit 1: log$/);
  assert.match(failedCall("ADD of a", { ...outcome, stdout: "", timedOut: true }).message, /was killed$/);
});

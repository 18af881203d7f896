// Whose an attachment is that was read back: by what was published of it, else by what kubelet tells; nobody's where that is not sure.

import assert from "node:assert/strict";
import { test } from "node:test";
import { testIp } from "../../../test/store.contract.ts";
import { type Pod, pods } from "../../kube/core-objects.ts";
import type { Endpoint } from "../../kube/objects.ts";
import { ownerOf } from "./owner.ts";

const attachment = { addresses: ["10.4.1.2", "fd00::2"].map(testIp), ifname: "eth0" };
const endpoint = (name: string, addresses: readonly string[], ifname = "eth0"): Endpoint => ({
  namespace: "shop",
  name,
  uid: `uid-of-${name}`,
  interface: ifname,
  addresses: addresses.map(testIp),
});
const pod = (name: string, ip: string, more: { spec?: object; phase?: string } = {}): Pod =>
  pods.parse({
    metadata: { namespace: "shop", name, uid: `uid-of-${name}` },
    spec: { nodeName: "a", ...more.spec },
    status: { podIPs: [{ ip }], ...(more.phase === undefined ? {} : { phase: more.phase }) },
  });
const named = (name: string): object => ({ namespace: "shop", name, uid: `uid-of-${name}` });

void test("what was published of an address names its pod, whatever is told of it otherwise", () => {
  const endpoints = [endpoint("db", ["10.4.1.2", "fd00::2"]), endpoint("web", ["10.4.1.3"])];
  assert.deepEqual(ownerOf(attachment, { endpoints }, [pod("other", "10.4.1.2")]), named("db"));
  const second = [endpoint("db", ["10.4.1.2"], "net1")];
  assert.equal(ownerOf(attachment, { endpoints: second }, []), undefined, "another interface");
  assert.equal(ownerOf(attachment, { endpoints: [endpoint("db", ["10.4.1.2", "10.4.1.9"])] }, []), undefined);
});

void test("else the one living pod of this node that has the address is it", () => {
  const ended = pod("job", "10.4.1.2", { phase: "Succeeded" });
  const onHost = pod("proxy", "10.4.1.2", { spec: { hostNetwork: true } });
  assert.deepEqual(ownerOf(attachment, undefined, [ended, onHost, pod("db", "10.4.1.2")]), named("db"));
  assert.equal(ownerOf(attachment, undefined, [ended, onHost, pod("web", "10.4.1.3")]), undefined);
});

void test("where two claim an address it is nobody's: one of them had it before", () => {
  assert.equal(ownerOf(attachment, undefined, [pod("old", "10.4.1.2"), pod("new", "fd00::2")]), undefined);
  const endpoints = [endpoint("old", ["10.4.1.2"]), endpoint("new", ["10.4.1.2"])];
  assert.equal(ownerOf(attachment, { endpoints }, [pod("new", "10.4.1.2")]), undefined);
});

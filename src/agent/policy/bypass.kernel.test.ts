// What goes round policy is found in a real kernel: programs on pods' links, and rules that keep pods' packets from being tracked.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addPod, servingAgent } from "../../../test/policy-node.ts";
import { attachTcx } from "../../../test/tcx.ts";

void test("a program of traffic control on a pod's link, and rules before connection tracking, are told; those of others are not", async (t) => {
  const agent = await servingAgent(t);
  await addPod(t, agent, "web", {});
  const { node } = agent;
  const findings = async (): Promise<string[]> => {
    const all = (await agent.ask("/check")) as { name: string; says: string }[];
    return all.filter(({ name }) => name === "policy-bypass").map(({ says }) => says);
  };
  const [, link = ""] = /(fl[0-9a-f]{13})@/.exec(node.run("ip", "-o", "link", "show", "type", "veth")) ?? [];
  assert.notEqual(link, "");
  const passAll = "1,6 0 0 4294967295,";
  // On the uplink it is the node's own; without a program there is nothing to tell.
  node.run("tc", "qdisc", "add", "dev", "eth0", "clsact");
  node.run("tc", "filter", "add", "dev", "eth0", "ingress", "bpf", "da", "bytecode", passAll);
  node.run("tc", "qdisc", "add", "dev", link, "clsact");
  node.run("nft", "add table inet early; add chain inet early pre { type filter hook prerouting priority raw; }");
  node.run("nft", "add rule inet early pre ip daddr 169.254.20.10 notrack");
  node.run("nft", "add rule inet early pre ip daddr 10.4.1.77 counter");
  await attachTcx(t, node, "eth0", "ingress");
  assert.deepEqual(await findings(), []);
  for (const direction of ["ingress", "egress"]) {
    node.run("tc", "filter", "add", "dev", link, direction, "bpf", "da", "bytecode", passAll);
    assert.match((await findings()).join(), new RegExp(`^eBPF programs \\(tc\\) are on pods' links.*: ${link}$`));
    node.run("tc", "filter", "del", "dev", link, direction);
  }
  for (const direction of ["ingress", "egress"] as const) {
    const takeOff = await attachTcx(t, node, link, direction);
    assert.match((await findings()).join(), new RegExp(`^eBPF programs \\(tcx\\) are on pods' links.*: ${link}$`));
    await takeOff();
    assert.deepEqual(await findings(), []);
  }
  for (const rule of ["ip daddr 10.4.1.2 notrack", "ip6 saddr fd00:10:4:1::2 notrack", "udp dport 53 notrack"]) {
    node.run("nft", "add chain inet early other; flush chain inet early other");
    node.run("nft", `add rule inet early other ${rule}`);
    assert.match((await findings()).join(), /connection tracking.*: inet early other$/, rule);
  }
  node.run("nft", "delete table inet early");
  for (const option of [
    ["-j", "NOTRACK"],
    ["-j", "CT", "--notrack"],
  ]) {
    node.run("iptables-nft", "-t", "raw", "-A", "PREROUTING", "-d", "10.4.1.2", ...option);
    assert.match((await findings()).join(), /: ip raw PREROUTING$/, option.join(" "));
    node.run("iptables-nft", "-t", "raw", "-F");
  }
  node.run("iptables-nft", "-t", "raw", "-A", "OUTPUT", "-d", "169.254.20.10", "-j", "CT", "--notrack");
  assert.deepEqual(await findings(), []);
});

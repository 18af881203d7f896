// The keeper of policy on a node in memory: what a pass that fails leaves due, whom a link belongs to meanwhile, and what waits for whom.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hostMac } from "../../../test/kernel-stage.ts";
import { closed, fromWeb, podNamed, stand } from "../../../test/policy-keeper.ts";
import { testIp, testWired } from "../../../test/store.contract.ts";
import { present } from "../../base/assert.ts";
import { Fault } from "../../base/fault.ts";
import type { Wired } from "../../ipam/store.ts";
import { createJudge } from "../../policy/judge.ts";

const broken = new Fault("kernel-refused", "not now");

void test("the first pass looks for connections, one that changes nothing does not, one that closes does", async () => {
  const { policy, say, narrowed, group } = await stand();
  await policy.sync();
  await policy.sync();
  say(closed);
  policy.changed("cluster");
  await policy.sync();
  assert.deepEqual(narrowed, [true, false, true]);
  assert.equal(await group(), 101);
  say();
  policy.changed("cluster");
  await policy.sync();
  assert.equal(await group(), 100);
});

void test("the cluster hears by what the node judges once the kernel does, and what goes round it", async () => {
  const { node, policy, say, judging } = await stand();
  say(closed);
  node.machine.kernel.failNext("policy.ensure", broken);
  await assert.rejects(policy.sync(), /not now/);
  assert.equal(judging.length, 0);
  await policy.sync();
  assert.deepEqual(judging.at(-1), { groups: "in none", bypass: "none" }, "no group judges its pods");
  node.machine.kernel.addDevice(node.machine.kernel.node, { name: "kube-ipvs0", mac: hostMac, mtu: 1500 });
  await policy.sync();
  const bypass = judging.at(-1)?.bypass;
  assert.match(typeof bypass === "object" ? bypass.why : "", /kube-proxy runs in IPVS mode/);
});

void test("a pass that fails after the kernel has been told owes the look for connections to the next", async () => {
  const { node, policy, say, narrowed, group } = await stand();
  await policy.sync();
  say(closed);
  policy.changed("cluster");
  node.machine.kernel.failNext("link.set", broken, "all was done");
  await assert.rejects(policy.sync(), /not now/);
  await policy.sync();
  assert.deepEqual(narrowed, [true, true]);
  assert.equal(await group(), 101);
});

void test("what somebody did to table or link is put back, and what began meanwhile is looked for", async () => {
  const { node, policy, say, narrowed } = await stand();
  say(closed);
  await policy.sync();
  node.machine.kernel.damagePolicy("table deleted");
  policy.doubt();
  await policy.sync();
  policy.linkRepaired();
  await policy.sync();
  await policy.sync();
  assert.deepEqual(narrowed, [true, true, true, false]);
});

void test("what somebody did to the table is counted, whatever else the pass is for; what the pass is for is not", async () => {
  const { node, policy, say, trusted, repairs } = await stand();
  say(fromWeb);
  await policy.sync();
  const damage = (): void => {
    node.machine.kernel.damagePolicy("table deleted");
    policy.doubt();
  };
  const come = async (name: string, address: string): Promise<void> => {
    const pod = { namespace: "shop", name, uid: name };
    const attachment = testWired({ containerId: `other ${name}`, pod, addresses: [testIp(address)] });
    await policy.enter({ ...attachment, wire: { ...attachment.wire, hostLink: `fl${name}` } }, podNamed(name));
  };
  policy.doubt();
  say(fromWeb, closed);
  policy.changed("cluster");
  await policy.sync();
  assert.deepEqual(repairs, [], "policy changed, and so did the table");
  trusted.length = 0;
  await come("web", "10.4.1.77");
  await come("db", "10.4.1.78");
  assert.deepEqual(trusted, []);
  policy.doubt();
  policy.changed("attachments");
  await policy.sync();
  assert.deepEqual(repairs, [], "pods came without a pass, and went");
  damage();
  policy.changed("attachments");
  await policy.sync();
  assert.deepEqual(repairs, ["policy 1"]);
  damage();
  say(closed);
  policy.changed("cluster");
  node.machine.kernel.failNext("policy.ensure", broken);
  await assert.rejects(policy.sync(), /not now/);
  await policy.sync();
  damage();
  await policy.sync();
  assert.deepEqual(repairs, ["policy 1", "policy 1"], "what a pass that failed has left is nobody's damage");
});

void test("a table that is missed by whoever trusts it is damage: counted once, and what began meanwhile is looked for", async () => {
  const { node, policy, say, repairs, narrowed } = await stand();
  say(fromWeb);
  await policy.sync();
  const after = async (pass: () => Promise<unknown>): Promise<unknown> => {
    [narrowed.length, repairs.length] = [0, 0];
    node.machine.kernel.damagePolicy("table deleted");
    await pass();
    policy.doubt(); // the kernel's word of it comes later
    await policy.sync();
    return [repairs, narrowed];
  };
  policy.changed("attachments");
  assert.deepEqual(await after(policy.sync), [["policy 1"], [true, false]], "a pass for what came or went");
  const web = testWired({ containerId: "web", pod: { namespace: "shop", name: "web", uid: "web" } });
  const found = await after(async () => (await policy.enter(web, podNamed("web"))).listed);
  assert.deepEqual(found, [["policy 1"], [false, true, false]], "an ADD without a pass, which then has one");
});

void test("a link that DEL has doomed while the kernel was told is not put back into a class", async () => {
  const { node, policy, say, group } = await stand();
  await policy.sync();
  say(closed);
  policy.changed("cluster");
  const { kernel } = node.machine;
  const links = kernel.node.links.bind(kernel.node);
  kernel.node.links = async () => {
    const seen = await links();
    await node.remove("db");
    return seen;
  };
  await policy.sync();
  assert.equal(await group(), 99);
});

void test("the link of a sandbox that its caller did not name follows its class within the pass", async () => {
  const { policy, say, group } = await stand(() => ({ namespace: "shop", name: "db" }));
  await policy.sync();
  assert.equal(await group(), 100);
  say(closed);
  policy.changed("cluster");
  await policy.sync();
  assert.equal(await group(), 101);
});

void test("ADD waits for the pass that takes in what was heard, and fails where that fails", async () => {
  const { node, policy, say, attachment } = await stand();
  await policy.sync();
  assert.equal(await policy.settle(attachment), 100);
  say(closed);
  policy.changed("cluster");
  node.machine.kernel.failNext("policy.ensure", broken);
  const pass = policy.sync();
  await assert.rejects(pass, /not now/);
  assert.equal(await policy.settle(attachment), 101, "it is still due");
  say();
  policy.changed("cluster");
  node.machine.kernel.failNext("policy.ensure", broken);
  await assert.rejects(policy.settle(attachment), /not now/);
});

void test("a pod that nothing judges is a member for others when ADD goes on, without a pass", async () => {
  const { policy, say, admitted } = await stand();
  say(fromWeb);
  await policy.sync();
  const entered = async (attachment: Wired, name: string): Promise<number> => {
    const { group, listed } = await policy.enter(attachment, podNamed(name));
    await listed;
    return group;
  };
  const web = testWired({ containerId: "web", pod: { namespace: "shop", name: "web", uid: "web" } });
  assert.equal(await entered(web, "web"), 100);
  assert.deepEqual(admitted, web.addresses);
  const pod = { namespace: "shop", name: "other", uid: "other" };
  const other = testWired({ containerId: "other", pod, addresses: [testIp("10.4.1.77")] });
  assert.equal(await entered(other, "other"), 100);
  assert.deepEqual(admitted, web.addresses, "one that no selector names is no member");
});

void test("a pod that came without a pass is known at once: no walk cuts what it may do, and what it may do no more is looked for", async () => {
  const { policy, say, narrowed, models, attachment } = await stand();
  say(fromWeb);
  await policy.sync();
  const web = testWired({ containerId: "web", pod: { namespace: "shop", name: "web", uid: "web" } });
  await (
    await policy.enter(web, podNamed("web"))
  ).listed;
  const [source, destination] = [web, attachment].map(({ addresses }) => present(addresses[0], "an address"));
  const packet = { source: present(source, "web"), destination: present(destination, "db"), protocol: 6 };
  assert.equal(createJudge(present(models.at(-1), "a model")).verdict({ ...packet, destinationPort: 80 }).passes, true);
  // The pool of this stand never lists it: to the next pass it is gone.
  policy.changed("attachments");
  await policy.sync();
  assert.equal(narrowed.at(-1), true);
});

void test("an address that sets still hold for another pod is given to the next one by a pass", async () => {
  const { policy, say, trusted } = await stand();
  say(fromWeb);
  await policy.sync();
  const web = testWired({ containerId: "web", pod: { namespace: "shop", name: "web", uid: "web" } });
  await (
    await policy.enter(web, podNamed("web"))
  ).listed;
  trusted.length = 0;
  const heir = testWired({ containerId: "heir", pod: { namespace: "shop", name: "other", uid: "other" } });
  await assert.rejects(policy.enter(heir, podNamed("other")), /class of fairlead\/heir/, "this stand never lists it");
  assert.equal(trusted.length, 1);
});

void test("an address that slices list for a pod that has gone is given to the next one by a pass", async () => {
  const { policy, say, trusted, listed } = await stand();
  say(fromWeb);
  await policy.sync();
  const heir = testWired({ containerId: "heir", pod: { namespace: "shop", name: "other", uid: "other" } });
  listed.add(heir.addresses);
  trusted.length = 0;
  await assert.rejects(policy.enter(heir, podNamed("other")), /class of fairlead\/heir/, "this stand never lists it");
  assert.equal(trusted.length, 1);
  listed.remove(heir.addresses);
  assert.equal((await policy.enter(heir, podNamed("other"))).group, 100, "it is listed no more");
});

void test("a pod that needs a pass has none that reads all that the kernel holds", async () => {
  const { policy, say, trusted, attachment } = await stand();
  say(closed);
  await policy.sync();
  trusted.length = 0;
  assert.equal((await policy.enter(attachment, podNamed("db"))).group, 101);
  assert.deepEqual(trusted, [true]);
  await policy.sync();
  assert.equal(trusted.at(-1), true, "nor has the one of the loop, whose question was answered by then");
});

void test("a pod is judged on its way to itself before it leaves the guard, and until it is back; what it began until then is looked for", async () => {
  const { policy, say, guard, narrowed, told } = await stand();
  const pass = async (): Promise<string[]> => {
    told.length = 0;
    policy.changed("cluster");
    await policy.sync();
    return [...told];
  };
  say(closed);
  assert.deepEqual(await pass(), ["reaches itself"]);
  guard("off");
  assert.deepEqual(await pass(), ["is judged", "guard off"]);
  assert.deepEqual(await pass(), ["is judged"]);
  guard("on");
  assert.deepEqual(await pass(), ["is judged", "guard on", "reaches itself"]);
  assert.deepEqual(narrowed, [true, true, false, false]);
});

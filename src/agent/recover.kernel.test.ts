// What a starting agent makes of what the last one left: half-made attachments, unknown links, a reboot, a lost journal.

import assert from "node:assert/strict";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startTestAgent, type TestAgent } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { testIp, testWired } from "../../test/store.contract.ts";
import { until } from "../../test/until.ts";
import { openSqliteStore } from "../ipam/sqlite-store.ts";
import type { Store } from "../ipam/store.ts";
import { derivedNames } from "./plan.ts";

const stranger = "fl0123456789abc";

function makeStranger({ node }: TestAgent): void {
  node.run("ip", "link", "add", stranger, "type", "veth", "peer", "name", "lost");
  node.run("ip", "link", "set", stranger, "alias", "fairlead1 fairlead/never/eth0");
}

/** Works on the state file of a stopped agent. */
function edit({ config }: TestAgent, work: (store: Store) => void): void {
  const store = openSqliteStore(join(config.paths.state, "fairlead.db"));
  work(store);
  store.close();
}

const linkNames = async (agent: TestAgent): Promise<string[]> =>
  (await agent.kernel().node.links()).map(({ name }) => name).filter((name) => name.startsWith("fl"));

test("a link that the journal does not know is removed, a known one stays", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  await agent.stop();
  makeStranger(agent);
  agent.node.run("ip", "link", "add", "flat", "type", "bridge"); // not a name of ours
  await agent.start();
  await until("the unknown link is gone", async () => !(await linkNames(agent)).includes(stranger));
  assert.equal((await linkNames(agent)).length, 2);
  agent.audit.expectDamage(/^link flat /, "a link of somebody else, which the agent has to leave");
  pod.run("ping", "-c1", "-W5", "172.30.0.11");
});

test("with a lost state file living pods are read back from their links: address, guard, CHECK and DEL are as before", async (t) => {
  const agent = await startTestAgent(t);
  const [pod, other] = [makeNetns(t), makeNetns(t)];
  const call = { netns: pod.path };
  const result = await agent.add(call);
  await agent.stop();
  rmSync(agent.config.paths.state, { recursive: true });
  await agent.start();
  pod.run("ping", "-c1", "-W5", "172.30.0.11");
  const check = await agent.cni("CHECK", { ...call, config: { prevResult: result } });
  assert.equal(check.exitCode, 0, check.stdout);
  const { ips } = await agent.add({ containerId: "c2", netns: other.path });
  assert.deepEqual(
    ips.map(({ address }) => address),
    ["10.4.1.3/32", "fd00:10:4:1::3/128"],
    "the living pod's addresses are not given again",
  );
  assert.equal((await agent.cni("DEL", call)).exitCode, 0);
  assert.doesNotMatch(pod.run("ip", "link"), /eth0/);
});

test("a damaged state file is set aside, and so is another node's", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const { state } = agent.config.paths;
  const asideNow = (form: RegExp): string[] => readdirSync(state).filter((name) => form.test(name));
  await agent.add({ netns: pod.path });
  await agent.stop();
  writeFileSync(join(state, "fairlead.db"), "no database".repeat(1000));
  await agent.start();
  assert.equal(asideNow(/damaged/).length, 1);
  await agent.stop();
  edit(agent, (store) => store.setFacts({ node: "another" }));
  await agent.start();
  assert.ok(asideNow(/foreign/).length >= 1);
  pod.run("ping", "-c1", "-W5", "172.30.0.11");
  for (const name of asideNow(/damaged|foreign/)) rmSync(join(state, name));
});

test("an ADD that was cut off is taken back, and its address is not given again at once", async (t) => {
  const agent = await startTestAgent(t);
  await agent.stop();
  const id = { network: "fairlead", containerId: "cut", ifname: "eth0" };
  edit(agent, (store) =>
    store.plan(
      testWired({
        ...id,
        wire: { ...testWired().wire, ...derivedNames(id) },
        addresses: [testIp("10.4.1.2"), testIp("fd00:10:4:1::2")],
      }),
    ),
  );
  await agent.start();
  await agent.stop();
  edit(agent, (store) => assert.deepEqual(store.read().attachments, []));
  await agent.start();
  const pod = makeNetns(t);
  const { ips } = await agent.add({ netns: pod.path });
  assert.deepEqual(
    ips.map(({ address }) => address),
    ["10.4.1.3/32", "fd00:10:4:1::3/128"],
  );
});

test("an attachment whose host link is gone is released", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  await agent.stop();
  pod.remove();
  await until("the kernel has removed the pair", () => !/fl[0-9a-f]{13}/.test(agent.node.run("ip", "link")));
  await agent.start();
  agent.attached.clear(); // the agent need not wait for the DEL that is to come
  assert.deepEqual(await agent.kernel().guard.list(), []);
  await agent.stop();
  edit(agent, (store) => assert.deepEqual(store.read().attachments, []));
});

test("after a reboot every attachment is released and its address cools", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  await agent.stop();
  edit(agent, (store) => store.setFacts({ bootId: "another boot" }));
  pod.remove(); // a reboot takes all links along, and the runtime finds no sandbox alive
  await until("the pair is gone", () => !/fl[0-9a-f]{13}/.test(agent.node.run("ip", "link")));
  agent.attached.clear();
  await agent.start();
  await agent.stop();
  edit(agent, (store) => {
    const { attachments, cooling } = store.read();
    assert.deepEqual(attachments, []);
    assert.deepEqual(cooling.map(({ address }) => address).toSorted(), ["10.4.1.2", "fd00:10:4:1::2"]);
  });
});

test("a guard that somebody damaged while no agent ran is whole again", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  const before = agent.node.run("nft", "list", "table", "inet", "fairlead");
  await agent.stop();
  agent.node.run("nft", "flush", "chain", "inet", "fairlead", "guard_pod");
  await agent.start();
  assert.equal(agent.node.run("nft", "list", "table", "inet", "fairlead"), before);
});

test("link indexes go on behind those of the last run", async (t) => {
  const agent = await startTestAgent(t);
  const first = makeNetns(t);
  const second = makeNetns(t);
  await agent.add({ netns: first.path });
  await agent.stop();
  await agent.start();
  await agent.add({ containerId: "c2", netns: second.path });
  const indexes = (await agent.kernel().node.links())
    .filter(({ name }) => name.startsWith("fl"))
    .map(({ index }) => index);
  assert.equal(new Set(indexes).size, 2);
  first.run("ping", "-c1", "-W5", "172.30.0.11");
  second.run("ping", "-c1", "-W5", "172.30.0.11");
});

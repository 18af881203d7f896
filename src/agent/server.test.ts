// Calls of one container that come together, and addresses of another IPAM plugin from pod to pod: on a node in memory.

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startFakeNode } from "../../test/model/fake-node.ts";
import { testIp } from "../../test/store.contract.ts";
import { present } from "../base/assert.ts";
import { within } from "../base/pause.ts";
import { parseCidr } from "../net/cidr.ts";
import { openPolicy } from "./policy/pod-policy.ts";

test("a DEL that comes while its ADD is being admitted waits for it: the pod is gone in the end", async () => {
  const [asked, admitted] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  const admit = (): Promise<undefined> => {
    asked.resolve(undefined);
    return admitted.promise;
  };
  const { machine, core, call, links } = await startFakeNode({ admit });
  machine.addNetns("c1");
  const added = call("ADD", "c1");
  await asked.promise;
  const removed = call("DEL", "c1");
  assert.equal(await within(50, removed), false, "it is in its turn");
  admitted.resolve(undefined);
  assert.deepEqual([(await added).code, (await removed).code], [0, 0]);
  await core.settle();
  assert.deepEqual([core.pool.all(), await links()], [[], []]);
});

test("an address that another IPAM plugin gives again is forgotten as the last pod's before the next one has it", async (t) => {
  const path = mkdtempSync(join(tmpdir(), "fairlead-ipam-"));
  t.after(() => rmSync(path, { recursive: true }));
  const result = JSON.stringify({ cniVersion: "1.1.0", ips: [{ address: "10.9.0.5/24" }] });
  writeFileSync(join(path, "lowest"), `#!/bin/sh\ncat > /dev/null\n[ "$CNI_COMMAND" != ADD ] || echo '${result}'\n`);
  chmodSync(join(path, "lowest"), 0o755);
  const { machine, core } = await startFakeNode();
  const { kernel } = machine;
  const own = testIp("10.9.0.5");
  const call = async (verb: string, id: string): Promise<number> => {
    const env = { CNI_CONTAINERID: id, CNI_IFNAME: "eth0", CNI_NETNS: machine.pathOf(id), CNI_PATH: path };
    const { code, stdout } = await core.call(verb, env, { ipam: { type: "lowest" } });
    assert.equal(code, 0, stdout);
    return (await kernel.conntrack.list([own])).length;
  };
  for (const id of ["c1", "c2"]) machine.addNetns(id);
  await call("ADD", "c1");
  const other = testIp("192.0.2.1");
  const connection = {
    protocol: 17,
    original: { source: other, destination: own, sourcePort: 53, destinationPort: 53 },
    reply: { source: own, destination: other, sourcePort: 53, destinationPort: 53 },
    replied: false,
    assured: false,
  };
  kernel.track(connection);
  assert.equal(await call("DEL", "c1"), 0);
  await call("ADD", "c2");
  kernel.track(connection);
  await core.settle();
  assert.equal((await kernel.conntrack.list([own])).length, 1, "those of the next pod are nobody else's");
});

test("addresses are lent by the blocks that there are when they are taken", async () => {
  const [before, after] = ["10.4.1.0/24", "10.4.2.0/24"].map((text) => present(parseCidr(text), text));
  const node = await startFakeNode({
    policy: { ...openPolicy, untilKnown: async () => node.core.pool.setBlocks([present(after, "the new block")]) },
  });
  node.machine.addNetns("c1");
  assert.deepEqual(node.core.pool.blocks(), [before]);
  const { code, stdout } = await node.call("ADD", "c1", { type: "bridge", ipam: { type: "fairlead-cni" } });
  assert.equal(code, 0, stdout);
  assert.match(stdout, /"10\.4\.2\.\d+\/24"/);
});

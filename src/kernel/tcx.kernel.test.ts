// What the addon counts of programs that tcx attached: by link, direction and namespace, within its bounds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeNetns } from "../../test/netns.ts";
import { attachTcx } from "../../test/tcx.ts";
import { loadAddon } from "./addon.ts";
import { tcxLinksMax } from "./contract.ts";

const addon = loadAddon();

void test("programs that tcx attached are counted for each link and direction, inside the namespace", async (t) => {
  const netns = makeNetns(t);
  const opened = addon.openNetns(netns.path);
  t.after(() => addon.close(opened));
  netns.run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two");
  const index = (name: string): number => Number(netns.run("cat", `/sys/class/net/${name}/ifindex`));
  const links = [index("two"), index("one"), 1_000_000, 1];
  assert.deepEqual(await addon.tcxPrograms(opened, links), [0, 0, 0, 0, 0, 0, 0, 0]);
  await attachTcx(t, netns, "one", "ingress");
  const takeOff = await attachTcx(t, netns, "one", "ingress");
  await attachTcx(t, netns, "one", "egress");
  assert.deepEqual(await addon.tcxPrograms(opened, links), [0, 0, 2, 1, 0, 0, 0, 0]);
  await takeOff();
  assert.deepEqual(await addon.tcxPrograms(opened, links.slice(1, 2)), [1, 1]);
  assert.deepEqual(await addon.tcxPrograms(opened, []), []);
  for (const wrong of [0, -1, 0.5, 2 ** 31, NaN])
    await assert.rejects(addon.tcxPrograms(opened, [1, wrong]), { code: "EINVAL", message: /^links/ }, String(wrong));
  const tooMany = Array.from({ length: tcxLinksMax + 1 }, () => 1);
  await assert.rejects(addon.tcxPrograms(opened, tooMany), { code: "EINVAL" });
  assert.equal((await addon.tcxPrograms(opened, tooMany.slice(1))).length, 2 * tcxLinksMax);
  addon.close(opened);
  await assert.rejects(addon.tcxPrograms(opened, [1]), { code: "EBADF" });
});

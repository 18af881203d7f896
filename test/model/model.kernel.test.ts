// The same random runs as model.test.ts, fewer and shorter, on the real kernel in namespaces.

import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { silentLog } from "../../src/base/log.ts";
import { findUplink } from "../../src/agent/uplink.ts";
import { openKernel } from "../../src/kernel/kernel.ts";
import { present } from "../../src/base/assert.ts";
import { parseCidr } from "../../src/net/cidr.ts";
import { makeNetns, type TestNetns } from "../netns.ts";
import { until } from "../until.ts";
import { type Machine, play } from "./run.ts";
import { anyStep } from "./steps.ts";

const runs = 60;
const stepsMax = 15;
const seed = 20261126;

/** Collects what a run makes, so that it goes with the run and not only with the test. */
function collector(): Pick<TestContext, "after"> & { end: () => void } {
  const ends: (() => unknown)[] = [];
  return {
    after: (fn) => void ends.push(fn as () => unknown),
    end: () => {
      for (const end of ends.splice(0).toReversed()) end();
    },
  };
}

async function makeMachine(run: Pick<TestContext, "after">): Promise<Machine> {
  const node = makeNetns(run);
  for (const args of [
    ["link", "set", "lo", "up"],
    ["link", "add", "eth0", "type", "veth", "peer", "name", "wire"],
    ["link", "set", "wire", "up"],
    ["link", "set", "eth0", "up"],
    ["address", "add", "172.30.0.11/24", "dev", "eth0"],
    ["address", "add", "fd00:30::11/64", "dev", "eth0", "nodad"],
  ]) {
    node.run("ip", ...args);
  }
  const kernel = openKernel({ nodeNetns: node.path, log: silentLog() });
  const blocks = ["10.4.0.0/25", "fd00:4::/64"].map((text) => present(parseCidr(text), text));
  const uplink = await findUplink(kernel, { blocks: () => blocks, vias: [], mtu: "auto" });
  const made = new Map<string, TestNetns>();
  run.after(() => kernel.close());
  return {
    kernel,
    uplink,
    addNetns: (name) => void made.set(name, makeNetns(run)),
    removeNetns: async (name) => {
      made.get(name)?.remove();
      await until(`the pair of ${name} is gone`, async () =>
        (await kernel.node.links()).every(({ alias }) => !alias.includes(`/${name}/`)),
      );
    },
    pathOf: (name) => made.get(name)?.path ?? `/run/netns/none-${name}`,
  };
}

test("on the real kernel too: no address twice, nothing lost, nothing left", { timeout: 300_000 }, async () => {
  const anyRun = fc.array(anyStep, { minLength: 3, maxLength: stepsMax });
  await fc.assert(
    fc.asyncProperty(anyRun, async (steps) => {
      const run = collector();
      try {
        await play(steps, () => makeMachine(run));
      } finally {
        run.end();
      }
    }),
    { numRuns: runs, seed, endOnFailure: true },
  );
});

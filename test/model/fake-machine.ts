// A machine in memory for the model and for tests of single verbs: the fake kernel with an uplink.

import { present } from "../../src/base/assert.ts";
import { createFakeKernel, type FakeKernel } from "../../src/kernel/fake.ts";
import { parseMac } from "../../src/net/mac.ts";
import type { Machine } from "./run.ts";

export interface FakeMachine extends Machine {
  kernel: FakeKernel;
}

/** Makes the machine; its namespaces lie where a runtime mounts them. */
export function makeFakeMachine(): FakeMachine {
  const kernel = createFakeKernel();
  const mac = present(parseMac("02:00:00:00:00:77"), "mac");
  const index = kernel.addDevice(kernel.node, { name: "eth0", mac, mtu: 1500 });
  const pathOf = (name: string): string => `/run/netns/${name}`;
  return {
    kernel,
    uplink: {
      link: { index, name: "eth0", kind: "", mac, mtu: 1500, up: true, running: true, group: 0, alias: "" },
      addresses: {},
      subnets: [],
      mtu: 1500,
    },
    addNetns: (name) => kernel.addNetns(pathOf(name)),
    removeNetns: async (name) => kernel.removeNetns(pathOf(name)),
    pathOf,
  };
}

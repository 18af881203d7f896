// The reference network of a test cluster: the plugins ptp, host-local and portmap on each node, and routes between the nodes' pod blocks.

import { present } from "../../src/base/assert.ts";
import { cidrFamily, parseCidr } from "../../src/net/cidr.ts";
import { ipBatch } from "../../lab/machines.ts";
import type { NodeLayout } from "../../lab/layout.ts";
import type { Lab } from "../../lab/record.ts";
import { all } from "../../lab/waiting.ts";
import { referencePath } from "../reference/programs.ts";
import type { ClusterNode } from "./node.ts";
import { nodePaths } from "./node-config.ts";

const plugins = ["ptp", "host-local", "portmap"];

/** Installs the reference plugins on a node that has its blocks. */
export async function installPtp(node: ClusterNode, blocks: readonly string[]): Promise<void> {
  await all(plugins.map((plugin) => node.installPlugin(`${referencePath}/${plugin}`)));
  await node.write(`${nodePaths.cniConf}/10-ptp.conflist`, conflist(blocks));
}

function conflist(blocks: readonly string[]): string {
  const routes = blocks.map((block) => ({ dst: family(block) === 4 ? "0.0.0.0/0" : "::/0" }));
  const ipam = { type: "host-local", ranges: blocks.map((subnet) => [{ subnet }]), routes };
  return JSON.stringify({
    cniVersion: "1.0.0",
    name: "ptp",
    plugins: [
      { type: "ptp", ipMasq: false, ipam },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
}

function family(block: string): 4 | 6 {
  return cidrFamily(present(parseCidr(block), block));
}

/** Gives `machine` a route to every node's blocks: the part of a cluster's network that is the cloud's. Twice is no error. */
export async function routeBlocks(
  lab: Lab,
  machine: NodeLayout,
  nodes: readonly { layout: NodeLayout; blocks: readonly string[] }[],
): Promise<void> {
  const commands = nodes
    .filter(({ layout }) => layout.name !== machine.name)
    .flatMap(({ layout, blocks }) =>
      blocks.map((block) => `route replace ${block} via ${present(layout.addresses[family(block)], "address")}`),
    );
  await ipBatch(lab, machine.netns, commands);
}

// The stage of the crash matrix: a small cluster in which a leader has something of everything to do, in ranges with no block to spare.

import { present } from "../../src/base/assert.ts";
import { type NodeEndpoints, nodeEndpoints, type NodeNetwork, nodeNetworks } from "../../src/kube/objects.ts";
import { parseCidr } from "../../src/net/cidr.ts";
import { createWorld, type World } from "./world.ts";

const cidr = (text: string) => present(parseCidr(text), text);

/** Eight blocks of each family, one of them of services: room for seven nodes. */
const config = {
  assign: "fairlead",
  ranges: [
    { cidr: cidr("10.64.0.0/21"), blockPrefix: 24 },
    { cidr: cidr("fd00:64::/61"), blockPrefix: 64 },
  ],
  serviceRanges: [cidr("10.64.1.0/25"), cidr("fd00:64:0:1::/108")],
} as const;

/** One node from before, three new ones, one of them without an agent; what a node has left that is gone. */
export async function setStage(): Promise<World> {
  const world = await createWorld({ ...config, ranges: [...config.ranges], serviceRanges: [...config.serviceRanges] });
  const { kube } = world;
  await world.addNode("n1", { podCIDRs: ["10.64.3.0/24", "fd00:64:0:3::/64"] });
  for (const name of ["n2", "n3", "n4"]) await world.addNode(name);
  for (const name of ["n1", "n2", "n3"]) await world.runAgent(name);
  const network: NodeNetwork = { metadata: { name: "old" }, spec: { nodeUid: "gone", agentVersion: "0.1.0" } };
  await kube.create(nodeNetworks, network);
  const blocks = ["10.64.5.0/24", "fd00:64:0:5::/64"].map((text) => ({ cidr: cidr(text) }));
  const body = { status: { nodeUid: "gone", blocks, addresses: [] } };
  await kube.patch(nodeNetworks, { name: "old" }, { type: "merge", body }, { subresource: "status" });
  const endpoints: NodeEndpoints = { metadata: { name: "old" }, nodeUid: "gone", endpoints: [] };
  await kube.create(nodeEndpoints, endpoints);
  return world;
}

export interface Stage {
  world: World;
  /** Lets the new leader work until it has nothing left to do. */
  settle(): Promise<void>;
}

/**
 * What happens while an old leader sleeps: afterwards every block is needed, those that were n2's too. Each gives the nodes that must
 * go without.
 */
export const upheavals: Readonly<Record<string, (stage: Stage) => Promise<string[]>>> = {
  "nothing happens": async () => [],
  "n2 goes and others come": async ({ world, settle }) => {
    await world.removeNode("n2");
    await addMany(world, ["n5", "n6", "n7", "n8"]);
    await settle();
    return [];
  },
  "n2 goes, others come, and its agent has not heard": async ({ world, settle }) => {
    await world.removeNode("n2");
    for (const name of ["n5", "n6", "n7", "n8"]) await world.addNode(name);
    await settle();
    await world.runGhost("n2");
    return [];
  },
  "n2 is made anew and shares with others": async ({ world, settle }) => {
    await world.removeNode("n2");
    await addMany(world, ["n5", "n6", "n7", "n2"]);
    await settle();
    return [];
  },
  "n2 is made anew when others have all there is": async ({ world, settle }) => {
    await world.removeNode("n2");
    await addMany(world, ["n5", "n6", "n7", "n8"]);
    await settle();
    await addMany(world, ["n2"]);
    await settle();
    return ["n2"];
  },
};

async function addMany(world: World, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await world.addNode(name);
    await world.runAgent(name);
  }
}

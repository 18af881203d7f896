// The stage of memberships: a cluster in which a leader has slices to make, to change and to remove, and what must hold when it has.

import assert from "node:assert/strict";
import { present } from "../../src/base/assert.ts";
import { nodes, pods } from "../../src/kube/core-objects.ts";
import { ifKnown } from "../../src/kube/if-there.ts";
import { nodeEndpoints, nodeNetworks } from "../../src/kube/objects.ts";
import {
  membershipSlices,
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../../src/kube/policy-objects.ts";
import { cidrContains } from "../../src/net/cidr.ts";
import { parseIp } from "../../src/net/ip.ts";
import { indexMembers } from "../../src/policy/members.ts";
import { podsMembership } from "../../src/policy/membership.ts";
import { policyPodOf } from "../../src/policy/policy-pod.ts";
import { neededMemberships, readObjects } from "../../src/policy/read-objects.ts";
import { createTenants, type Tenants } from "./tenants.ts";
import { createWorld, type World, type WorldConfig } from "./world.ts";

const config: WorldConfig = { assign: "cluster", ranges: [], serviceRanges: [] };
const labelled = (app: string) => ({ podSelector: { matchLabels: { app } } });

/** Where a test of the stage finds what makes pods in it. */
const tenantsOf = new WeakMap<World, Tenants>();
export const tenantsIn = (world: World): Tenants => present(tenantsOf.get(world), "tenants");

/** Slices as an earlier leader left them: one to change, one to empty, one that nothing names. */
export async function setMembershipStage(): Promise<World> {
  const world = await createWorld(config);
  const tenants = await createTenants(world);
  tenantsOf.set(world, tenants);
  await tenants.addNode("n1", "10.4.1.0/24", "fd00:4:0:1::/64");
  await tenants.addNode("n2", "10.4.2.0/24");
  await tenants.group("db", { ingress: [{ from: [{ securityGroup: "sellers" }] }] });
  await tenants.group("sellers");
  await tenants.bind("sellers", { ...labelled("web"), groups: ["sellers"] });
  await tenants.policy("web", { ...labelled("db"), ingress: [{ from: [labelled("web"), labelled("none")] }] });
  await tenants.addPod("web-1", { labels: { app: "web" }, node: "n1", addresses: ["10.4.1.2", "fd00:4:0:1::2"] });
  await tenants.addPod("web-2", { labels: { app: "web" }, node: "n2", addresses: ["10.4.2.2"] });
  await tenants.addPod("db-1", { labels: { app: "db" }, node: "n2", addresses: ["10.4.2.3"] });
  const slice = async (app: string, address: string): Promise<void> => {
    const { key, peer } = podsMembership(
      [{ key: "kubernetes.io/metadata.name", operator: "In", values: ["shop"] }],
      [{ key: "app", operator: "In", values: [app] }],
    );
    const endpoints = [{ addresses: [present(parseIp(address), address)] }];
    await world.kube.create(membershipSlices, { metadata: { name: `${key}-0` }, membership: key, peer, endpoints });
  };
  await slice("web", "10.4.1.99");
  await slice("none", "10.4.1.98");
  return world;
}

/** What happens while an old leader sleeps. */
export const membershipUpheavals = {
  "an address becomes that of a pod that is no member": async (tenants: Tenants) => {
    await tenants.detach("web-2");
    await tenants.removePod("web-2");
    await tenants.addPod("other", { labels: { app: "other" }, node: "n2", addresses: ["10.4.2.2"] });
  },
  "members come, labels change, a node goes and a policy names others": async (tenants: Tenants, world: World) => {
    await tenants.addPod("web-3", { labels: { app: "web" }, node: "n1", addresses: ["10.4.1.3"] });
    await tenants.label("db-1", { app: "web" });
    await tenants.label("web-1", { app: "none" });
    await world.removeNode("n2");
    await tenants.policy("more", { ...labelled("web"), egress: [{ to: [labelled("db"), { namespaceSelector: {} }] }] });
  },
};

/** Holds the slices against who is a member by all that the server has. */
export async function checkMemberships({ kube }: World): Promise<void> {
  const nodeUids = new Map((await kube.list(nodes)).items.map(({ metadata }) => [metadata.name, metadata.uid]));
  const networks = (await kube.list(nodeNetworks)).items;
  const published = (await kube.list(nodeEndpoints)).items;
  const policyPods = (await kube.list(pods)).items.flatMap((pod) => {
    const node = pod.spec.nodeName ?? "";
    const network = networks.find(
      ({ metadata, status }) => metadata.name === node && status?.nodeUid === nodeUids.get(node),
    );
    const own = published.find(({ metadata, nodeUid }) => metadata.name === node && nodeUid === nodeUids.get(node));
    const addresses = (own?.endpoints ?? [])
      .filter(({ uid }) => uid === pod.metadata.uid)
      .flatMap((endpoint) => endpoint.addresses)
      .filter((ip) => network?.status?.blocks.some(({ cidr }) => cidrContains(cidr, ip)));
    return policyPodOf(pod, addresses) ?? [];
  });
  const objects = readObjects({
    namespaces: (await kube.list(namespaces)).items,
    serviceAccounts: (await kube.list(serviceAccounts)).items,
    networkPolicies: (await kube.list(networkPolicies)).items,
    groups: (await kube.list(securityGroups)).items,
    bindings: (await kube.list(securityGroupBindings)).items,
    groupPolicies: await ifKnown(kube.list(securityGroupPolicies)),
  });
  const index = indexMembers(policyPods, objects);
  const expected = neededMemberships(objects).map((definition): [string, string[]] => [
    definition.peer,
    index
      .membersOf(definition)
      .map(({ address }) => address)
      .toSorted(), // each address once, as pods have them
  ]);
  const slices = (await kube.list(membershipSlices)).items;
  for (const { metadata, endpoints } of slices) assert.ok(endpoints.length > 0, `${metadata.name} is not empty`);
  const told = Map.groupBy(slices, ({ peer }) => peer);
  for (const [peer, addresses] of expected) {
    const found = (told.get(peer) ?? []).flatMap(({ endpoints }) => endpoints.flatMap((each) => each.addresses));
    assert.deepEqual(found.toSorted(), addresses, peer);
    told.delete(peer);
  }
  assert.deepEqual([...told.keys()], [], "no slices but those of memberships that are named");
}

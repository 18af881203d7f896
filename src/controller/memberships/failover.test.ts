// A leader that takes over while some of its caches are behind: it takes nobody out whom it only does not know yet, and takes out who is gone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { defineKindOfAws } from "../../../test/controller/kinds.ts";
import { createLife, type Cross } from "../../../test/controller/crossing.ts";
import { checkMemberships, setMembershipStage, tenantsIn } from "../../../test/controller/membership-stage.ts";
import { type Replica, startReplica } from "../../../test/controller/replica.ts";
import type { Tenants } from "../../../test/controller/tenants.ts";
import type { World } from "../../../test/controller/world.ts";
import type { Kind, KubeObject } from "../../kube/contract.ts";
import { networkPolicies, securityGroupBindings, securityGroupPolicies } from "../../kube/policy-objects.ts";
import type { Caches } from "../deps.ts";
import { askEveryMs } from "./inherited.ts";
import { unneededSettleMs } from "./needs.ts";

interface Failover {
  world: World;
  tenants: Tenants;
  /** Who led until now, and has written all that it knows. */
  former: Replica;
  /** Who leads from now on. */
  next: Replica;
}

/** Both know all that there is. Calls of the next one go over `cross`. */
async function withTwo(work: (failover: Failover) => Promise<void>, cross: Cross = createLife().cross): Promise<void> {
  const world = await setMembershipStage();
  await defineKindOfAws(world.kube);
  try {
    const [former, next] = [await startReplica(world, createLife()), await startReplica(world, { cross })];
    try {
      await former.passOf("memberships");
      await work({ world, tenants: tenantsIn(world), former, next });
    } finally {
      await Promise.all([former.close(), next.close()]);
    }
  } finally {
    await world.close();
  }
}

/** When a new leader hears of the slices that the one before it wrote, of which it knew nothing either with its first pass. */
const slicesHeard = ["before the others", "after the others"] as const;

const web = { podSelector: { matchLabels: { app: "web" } } };

/** What the former leader hears of, and which caches of the next one do not. */
const news: Record<string, { happens: (tenants: Tenants) => Promise<unknown>; behind: (keyof Caches)[][] }> = {
  "a pod that is new": {
    happens: (tenants) => tenants.addPod("web-3", { labels: { app: "web" }, node: "n2", addresses: ["10.4.2.9"] }),
    behind: [["pods"], ["endpoints"], ["pods", "endpoints"]],
  },
  "a label that makes a pod a member": {
    happens: (tenants) => tenants.label("db-1", { app: "web" }),
    behind: [["pods"]],
  },
  "a binding that makes pods members": {
    happens: (tenants) => tenants.bind("more", { podSelector: { matchLabels: { app: "db" } }, groups: ["sellers"] }),
    behind: [["bindings"]],
  },
  "an object of AWS that makes pods members": {
    happens: (tenants) =>
      tenants.bindAsAws("aws", { podSelector: { matchLabels: { app: "db" } }, groupIds: ["sellers"] }),
    behind: [["groupPolicies"]],
  },
  "pods of a node that is new": {
    happens: async (tenants) => {
      await tenants.addNode("n3", "10.4.3.0/24");
      await tenants.addPod("web-3", { labels: { app: "web" }, node: "n3", addresses: ["10.4.3.9"] });
    },
    behind: [["nodes"], ["networks"], ["nodes", "networks", "endpoints", "pods"]],
  },
};

type Two = Parameters<Parameters<typeof withTwo>[0]>[0];

/** What happens is written by the leader of before; gives the slices then. */
async function writtenBefore({ world, tenants, former }: Two, happens: (tenants: Tenants) => Promise<unknown>) {
  await happens(tenants);
  await former.catchUp();
  await former.passOf("memberships");
  await checkMemberships(world);
  return tenants.slices();
}

/** Passes of the new leader, at once, a moment later, and when storage is asked again, leave the slices as they are. */
async function leavesThem({ world, tenants, next }: Two, slices: unknown, when = "behind"): Promise<void> {
  for (const later of [0, 1_000, askEveryMs]) {
    world.nowMs += later;
    await next.passOf("memberships");
    assert.deepEqual(await tenants.slices(), slices, when);
  }
}

for (const [what, { happens, behind }] of Object.entries(news)) {
  for (const caches of behind) {
    test(`${what}: a new leader whose ${caches.join(" and ")} are behind leaves the members in, and agrees once it has heard`, () =>
      withTwo(async (two) => {
        const { world, next } = two;
        next.freeze(true, ...caches);
        const before = await writtenBefore(two, happens);
        await next.catchUp();
        await leavesThem(two, before);
        next.freeze(false);
        await next.passOf("memberships");
        await checkMemberships(world);
      }));
    for (const heard of slicesHeard) {
      test(`${what}: a new leader whose ${caches.join(" and ")} are behind, and who hears of the slices ${heard}, leaves the members in`, () =>
        withTwo(async (two) => {
          const { world, next } = two;
          await next.catchUp();
          next.freeze(true, "slices", ...caches);
          const before = await writtenBefore(two, happens);
          await next.catchUp();
          const order =
            heard === "before the others" ? (["slices", ...caches] as const) : ([...caches, "slices"] as const);
          await leavesThem(two, before, "hearing of nothing");
          for (const cache of order) {
            next.freeze(false, cache);
            await leavesThem(two, before, `hearing of ${cache}`);
          }
          await checkMemberships(world);
        }));
    }
  }
}

/** What the former leader has heard of last, and acted on; the watches of the next one had died before, which nobody had noticed. */
const lastNews: Record<string, { happens: (two: Two) => Promise<unknown>; deaf: (keyof Caches)[] }> = {
  "a label that makes a pod no member": {
    happens: ({ tenants }) => tenants.label("web-2", { app: "none" }),
    deaf: ["pods"],
  },
  "a pod that is gone": {
    happens: ({ tenants }) => tenants.removePod("web-2"),
    deaf: ["pods", "endpoints"],
  },
  "a binding that is gone": {
    happens: ({ world }) => world.kube.remove(securityGroupBindings, { name: "sellers", namespace: "shop" }),
    deaf: ["bindings"],
  },
  "a policy that is new": {
    happens: ({ tenants }) =>
      tenants.policy("fresh", {
        podSelector: {},
        ingress: [{ from: [{ podSelector: { matchLabels: { app: "db" } } }] }],
      }),
    deaf: ["networkPolicies"],
  },
  "a policy that is gone": {
    happens: async ({ world, former }) => {
      await world.kube.remove(networkPolicies, { name: "web", namespace: "shop" });
      await former.catchUp();
      await former.passOf("memberships");
      world.nowMs += unneededSettleMs;
    },
    deaf: ["networkPolicies"],
  },
};

for (const [what, { happens, deaf }] of Object.entries(lastNews))
  test(`${what}: a new leader whose watches of ${deaf.join(" and ")} had died leaves what the former has written`, () =>
    withTwo(async (two) => {
      two.next.deafen(...deaf);
      const before = await writtenBefore(two, () => happens(two));
      await two.next.catchUp();
      await leavesThem(two, before);
      two.world.nowMs += unneededSettleMs;
      await leavesThem(two, before, "a minute later");
      await checkMemberships(two.world);
    }));

test("a slice that a leader writes itself for one member keeps those that it does not know", () =>
  withTwo(async ({ world, tenants, former, next }) => {
    await next.passOf("memberships");
    next.freeze(true, "slices", "bindings");
    await tenants.bind("more", { podSelector: { matchLabels: { app: "db" } }, groups: ["sellers"] });
    await former.catchUp();
    await former.passOf("memberships");
    await next.passOf("memberships");
    next.freeze(false, "slices");
    await tenants.addPod("web-3", { labels: { app: "web" }, node: "n2", addresses: ["10.4.2.9"] });
    for (const later of [0, 1_000, askEveryMs]) {
      world.nowMs += later;
      await next.catchUp();
      await next.passOf("memberships");
      await checkMemberships(world);
    }
  }));

test("of slices that a leader has written itself it asks nothing, whenever it hears of them", async () => {
  const calls: string[] = [];
  const cross: Cross = (call, make) => {
    calls.push(call);
    return make();
  };
  await withTwo(async ({ world, tenants, next }) => {
    await next.catchUp();
    await next.passOf("memberships");
    calls.length = 0;
    const passes = async (): Promise<void> => {
      for (let pass = 0; pass < 2; pass += 1) {
        await next.catchUp();
        await next.passOf("memberships");
      }
    };
    next.freeze(true, "slices");
    await tenants.addPod("web-3", { labels: { app: "web" }, node: "n2", addresses: ["10.4.2.9"] });
    await passes();
    await checkMemberships(world);
    await tenants.removePod("web-3");
    await passes();
    next.freeze(false, "slices"); // with a member that is gone by now
    await passes();
    await checkMemberships(world);
    next.freeze(true, "slices");
    await tenants.removePod("web-2");
    await passes(); // the second still sees a member that the first took out
    await checkMemberships(world);
    assert.ok(calls.some((call) => call.startsWith("PUT membershipslices")));
    assert.deepEqual(
      calls.filter((call) => call.startsWith("LIST")),
      [],
    );
  }, cross);
});

test("who is gone, or no member any more, when a leader takes over goes with its first pass", () =>
  withTwo(async ({ world, tenants, next }) => {
    await tenants.removePod("web-2");
    await tenants.label("web-1", { app: "none" });
    await next.catchUp();
    await next.passOf("memberships");
    await checkMemberships(world);
    await tenants.label("db-1", web.podSelector.matchLabels);
    await next.catchUp();
    await next.passOf("memberships");
    await checkMemberships(world);
  }));

const peerOfWebs = "pods app=web of namespaces kubernetes.io/metadata.name=shop";
/** As the server takes it, whose definition lets any word be an operator. */
const wholeOfAws: Kind<KubeObject> = { ...securityGroupPolicies, parse: (raw) => raw as KubeObject };

test("an object that cannot be read keeps in whom it may make a member, and nobody else waits for it", () =>
  withTwo(async (two) => {
    const { world, tenants, former, next } = two;
    await tenants.bindAsAws("odd", { podSelector: { matchLabels: { app: "db" } }, groupIds: ["sellers"] });
    await former.catchUp();
    await former.passOf("memberships");
    const matchExpressions = [{ key: "app", operator: "in", values: ["db"] }];
    const spec = { podSelector: { matchLabels: null, matchExpressions } };
    await world.kube.patch(wholeOfAws, { name: "odd", namespace: "shop" }, { type: "merge", body: { spec } });
    await tenants.removePod("web-2");
    await tenants.addPod("web-3", { labels: { app: "web" }, node: "n2", addresses: ["10.4.2.9"] });
    // One that starts anew, and has never read it.
    const fresh = await startReplica(world, createLife());
    try {
      for (const later of [0, 1_000, askEveryMs]) {
        world.nowMs += later;
        await fresh.passOf("memberships");
        const { "members of SecurityGroup sellers": sellers = {}, [peerOfWebs]: webs = {} } = await tenants.slices();
        const stays = ["10.4.1.2,fd00:4:0:1::2", "10.4.2.9"];
        assert.deepEqual(new Set(Object.values(sellers).flat()), new Set([...stays, "10.4.2.3"]));
        assert.deepEqual(new Set(Object.values(webs).flat()), new Set(stays));
      }
      await next.passOf("memberships");
    } finally {
      await fresh.close();
    }
  }));

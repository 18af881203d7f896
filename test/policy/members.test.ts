// Who belongs to a selector or a group, and that selectors which say the same are one: against the naive reading, in random worlds.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer } from "../../src/kube/policy-objects.ts";
import { clusterModel } from "../../src/policy/build-model.ts";
import type { CanonicalSelector, Member, MembershipDefinition, PolicyPod } from "../../src/policy/model.ts";
import { neededMemberships, readObjects } from "../../src/policy/read-objects.ts";
import { groupsOf } from "./naive-groups.ts";
import { selects } from "./naive-parts.ts";
import { selectsNamespace } from "./naive-universe.ts";
import { anyWorld } from "./random.ts";
import type { World } from "./world.ts";

const seed = Number(process.env["POLICY_SEED"] ?? "20261126");
const worlds = Number(process.env["POLICY_WORLDS"] ?? "1000");
/** Members that must have been compared, and memberships that must have had nobody. */
const membersMin = 5000;
const emptyMin = 500;

test("a membership holds the pods that its selector or group stands for, with their addresses and named ports", () => {
  let compared = 0;
  let empty = 0;
  fc.assert(
    fc.property(anyWorld, (world) => {
      const { memberships } = clusterModel(world.objects, world.pods, world.nodes);
      for (const definition of neededMemberships(readObjects(world.objects))) {
        const told = (memberships.get(definition.key) ?? []).flat().map(memberText).toSorted();
        const pods = world.pods.filter((pod) => belongs(world, pod, definition));
        const due = pods.flatMap(({ addresses, ports }) => addresses.map((address) => memberText({ address, ports })));
        assert.deepEqual(told, due.toSorted(), definition.peer);
        compared += due.length;
        if (due.length === 0) empty += 1;
      }
    }),
    { seed, numRuns: worlds },
  );
  assert.ok(compared > membersMin && empty > emptyMin, `${compared} members, ${empty} memberships without any`);
});

/** Ports in an order of their own: which one comes first says nothing. */
function memberText({ address, ports }: Member): string {
  return [address, ...ports.map(({ name, protocol, port }) => `${name} ${protocol}/${port}`).toSorted()].join(" ");
}

function belongs(world: World, pod: PolicyPod, { select }: MembershipDefinition): boolean {
  if ("group" in select) return groupsOf(world, pod).includes(select.group);
  const { namespaces, pods } = select;
  return selectsNamespace(world, asWritten(namespaces), pod.namespace) && selects(asWritten(pods), pod.labels);
}

function asWritten(selector: CanonicalSelector): LabelSelector {
  return {
    matchExpressions: selector.map(({ key, operator, values }) => ({
      key,
      operator,
      ...(values.length > 0 && { values: [...values] }),
    })),
  };
}

test("selectors that say the same in other words are one membership", () => {
  let reworded = 0;
  fc.assert(
    fc.property(anyWorld, (world) => {
      const { objects } = world;
      const others = { ...objects, networkPolicies: objects.networkPolicies.map(inOtherWords) };
      const before = neededMemberships(readObjects(objects)).map(({ key }) => key);
      const after = neededMemberships(readObjects(others)).map(({ key }) => key);
      assert.deepEqual(new Set(after), new Set(before));
      assert.equal(new Set(before).size, before.length, "a membership is needed once");
      reworded += before.length;
    }),
    { seed, numRuns: worlds },
  );
  assert.ok(reworded > membersMin / 5, `${reworded} memberships`);
});

/** Every peer's selectors as expressions alone, from the last to the first, each twice, with their values turned around. */
function inOtherWords({ metadata, spec }: NetworkPolicy): NetworkPolicy {
  const reworded = ({ matchLabels = {}, matchExpressions = [] }: LabelSelector): LabelSelector => {
    const all = [
      ...matchExpressions.map(({ values, ...rest }) => ({ ...rest, ...(values && { values: values.toReversed() }) })),
      ...Object.entries(matchLabels).map(([key, value]) => ({ key, operator: "In" as const, values: [value, value] })),
    ];
    return { matchExpressions: [...all, ...all].toReversed() };
  };
  const peers = (of: readonly NetworkPolicyPeer[]): NetworkPolicyPeer[] =>
    of.map(({ podSelector, namespaceSelector, ...peer }) => ({
      ...peer,
      ...(podSelector && { podSelector: reworded(podSelector) }),
      ...(namespaceSelector && { namespaceSelector: reworded(namespaceSelector) }),
    }));
  const { ingress, egress, ...rest } = spec;
  return {
    metadata,
    spec: {
      ...rest,
      ...(ingress && { ingress: ingress.map((rule) => ({ ...rule, ...(rule.from && { from: peers(rule.from) }) })) }),
      ...(egress && { egress: egress.map((rule) => ({ ...rule, ...(rule.to && { to: peers(rule.to) }) })) }),
    },
  };
}

// What the compiler makes of random worlds, read by the words of the ruleset alone, against the naive reading: the compiler without a kernel.

import assert from "node:assert/strict";
import { test } from "node:test";
import { clusterModel } from "../../src/policy/build-model.ts";
import { createCompiler } from "../../src/policy/compile.ts";
import type { Packet, Subject } from "../../src/policy/model.ts";
import type { PolicyRuleset } from "../../src/policy/ruleset.ts";
import { compareWithNaive, type Judging } from "./compare.ts";
import { assertWellFormed, rulesetPasses } from "./interpret.ts";

const seed = Number(process.env["POLICY_SEED"] ?? "20261126");
const worlds = Number(process.env["POLICY_WORLDS"] ?? "1000");
const packetsMax = 200;
const firstClass = 101;

/** Each node has a ruleset of its own pods; what goes from pod to pod passes where both nodes' rulesets let it. */
const kernels: Judging = ({ objects, pods, nodes, groupsJudgeOwnNode }) => {
  const { subjects, memberships } = clusterModel(objects, pods, nodes, { groupsJudgeOwnNode });
  const classes = classesOf(subjects);
  const classOf = (subject: Subject): number => classes.get(classKey(subject)) ?? 0;
  const rulesets = new Map<string, PolicyRuleset>();
  for (const node of new Set(subjects.map(({ pod }) => pod.node))) {
    const local = subjects
      .filter(({ pod }) => pod.node === node)
      .map((subject) => ({ subject, classNumber: classOf(subject) }));
    const ruleset = createCompiler().compile({ subjects: local, memberships, links: new Set(), groupsJudgeOwnNode });
    assertWellFormed(ruleset);
    rulesets.set(node, ruleset);
  }
  const rulesetOf = ({ pod }: Subject): PolicyRuleset => {
    const ruleset = rulesets.get(pod.node);
    assert.ok(ruleset, `the ruleset of ${pod.node}`);
    return ruleset;
  };
  const subjectAt = (address: string): Subject | undefined =>
    subjects.find(({ pod }) => pod.addresses.some((own) => own === address));
  const isNodeOf = ({ pod }: Subject, address: string): boolean =>
    (nodes.get(pod.node) ?? []).some((own) => own === address);

  return (packet: Packet) => {
    const source = subjectAt(packet.source);
    const target = subjectAt(packet.destination);
    if (source !== undefined && source === target) return true; // by the pod's own link, and back
    if (source !== undefined) {
      const asked = isNodeOf(source, packet.destination) ? "toNode" : "egress";
      if (!rulesetPasses(rulesetOf(source), classOf(source), asked, packet)) return false;
    }
    if (target === undefined || isNodeOf(target, packet.source)) return true; // what a node sends is not forwarded
    return rulesetPasses(rulesetOf(target), classOf(target), "ingress", packet);
  };
};

/** Pods with equal ids of layers share a class. */
function classKey({ egress, ingress }: Subject): string {
  return JSON.stringify([egress.map(({ id }) => id), ingress.map(({ id }) => id)]);
}

function classesOf(subjects: readonly Subject[]): ReadonlyMap<string, number> {
  return new Map([...new Set(subjects.map(classKey))].map((key, index) => [key, firstClass + index]));
}

test("what is compiled passes and denies what the documentation says", (context) => {
  const asked = compareWithNaive(kernels, { seed, worlds, packetsMax });
  context.diagnostic(`${asked} packets in ${worlds} worlds`);
});

// What the compiler makes of random worlds, read by the words of the ruleset alone, against the naive reading: the compiler without a kernel.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Ip } from "../../src/net/ip.ts";
import { clusterModel, localModel } from "../../src/policy/build-model.ts";
import { createCompiler } from "../../src/policy/compile.ts";
import type { Packet, PolicyPod, Subject } from "../../src/policy/model.ts";
import { readObjects } from "../../src/policy/read-objects.ts";
import { compareWithNaive, type Judging } from "./compare.ts";
import { isDiscovery } from "./naive.ts";
import { type Asked, assertWellFormed, rulesetPasses } from "./interpret.ts";
import type { World } from "./world.ts";

const seed = Number(process.env["POLICY_SEED"] ?? "20261126");
const worlds = Number(process.env["POLICY_WORLDS"] ?? "1500");
const packetsMax = 200;
const firstClass = 101;

/** Each node has a ruleset of its own pods; what goes from pod to pod passes where both nodes' rulesets let it. */
const kernels: Judging = (world) => {
  const { nodes } = world;
  const kernelOf = new Map([...nodes.keys()].map((node) => [node, kernelOfNode(world, node)]));
  const endAt = (address: Ip): End | undefined => {
    const pod = world.pods.find(({ addresses }) => addresses.includes(address));
    return (
      pod && { pod, ask: kernelOf.get(pod.node)?.(pod), isOwnNode: (of) => nodes.get(pod.node)?.includes(of) ?? false }
    );
  };
  const passes = (packet: Packet): boolean => {
    const source = endAt(packet.source);
    const target = endAt(packet.destination);
    if (source !== undefined && source.pod === target?.pod && source.ask?.("self", packet) === true) return true; // by the pod's own link, and back
    if (isDiscovery(packet)) return true; // the base chain's
    if (source !== undefined) {
      const asked = source.isOwnNode(packet.destination) ? "toNode" : "egress";
      if (!source.ask?.(asked, packet)) return false;
    }
    if (target === undefined || target.isOwnNode(packet.source)) return true; // what a node sends is not forwarded
    return target.ask?.("ingress", packet) ?? false;
  };
  return (packet) => ({ passes: passes(packet) });
};

type Ask = (asked: Asked | "self", packet: Packet) => boolean;
interface End {
  pod: PolicyPod;
  ask: Ask | undefined;
  isOwnNode: (address: Ip) => boolean;
}

/** As an agent makes it: of its own pods, all objects, and the memberships that it is told. */
function kernelOfNode({ objects, pods, nodes, ...keys }: World, node: string): (pod: PolicyPod) => Ask {
  const { groupsJudgeOwnNode, metadata } = keys;
  const { memberships } = clusterModel(objects, pods, nodes, keys);
  const local = pods.filter((pod) => pod.node === node);
  const { subjects } = localModel(readObjects(objects, keys), local, nodes, memberships, keys);
  const classes = [...new Set(subjects.map(classKey))];
  const classOf = (subject: Subject): number => firstClass + classes.indexOf(classKey(subject));
  const input = {
    subjects: subjects.map((subject) => ({ subject, classNumber: classOf(subject) })),
    links: new Set(subjects.filter(({ isUnguarded }) => isUnguarded !== true).map(({ pod }) => pod.uid)), // called as its pod is
    groupsJudgeOwnNode,
    metadata,
  };
  const compiler = createCompiler();
  compiler.compile({ ...input, memberships: new Map() }); // it remembers: nothing of this may be left
  const ruleset = compiler.compile({ ...input, memberships });
  assertWellFormed(ruleset);
  return (pod) => {
    const subject = subjects.find(({ pod: { uid } }) => uid === pod.uid);
    assert.ok(subject, `${pod.name} is a subject`);
    return (asked, packet) =>
      asked === "self" ? ruleset.links.has(pod.uid) : rulesetPasses(ruleset, classOf(subject), asked, packet);
  };
}

/** Pods with equal ids of layers share a class. */
function classKey({ egress, ingress }: Subject): string {
  return JSON.stringify([egress.map(({ id }) => id), ingress.map(({ id }) => id)]);
}

test("what is compiled passes and denies what the documentation says", (context) => {
  const asked = compareWithNaive(kernels, { seed, worlds, packetsMax });
  context.diagnostic(`${asked} packets in ${worlds} worlds`);
});

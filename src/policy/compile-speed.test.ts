// What compiling costs on a full node: everything anew, one edit, and an object that is far too large. Bounds are ten times what it takes.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ip } from "../../test/policy/compile-world.ts";
import { block, layerOf, rule, tcp } from "../../test/policy/compile-rules.ts";
import { type CompileInput, createCompiler } from "./compile.ts";
import { compileLayer, layerLookupsMax } from "./compile-layer.ts";
import type { Layer, Member, MembershipKey, Rule } from "./model.ts";

const pods = 110;
const rulesOfPod = 300;
const membershipsMax = 50;
const addressesMax = 20_000;

function key(number: number): MembershipKey {
  return number.toString(16).padStart(20, "0") as MembershipKey; // oxlint-disable-line typescript/no-unsafe-type-assertion -- a key of a test
}

const members = (membership: number): Member[] =>
  Array.from({ length: addressesMax / membershipsMax }, (_, index) => {
    const number = membership * (addressesMax / membershipsMax) + index;
    return { address: ip(`10.1.${number >>> 8}.${number & 255}`), ports: [{ name: "http", protocol: 6, port: 80 }] };
  });

/** Half of a pod's rules; no two pods have the same, every fifth rule is about a block, every tenth about a range. */
function rules(pod: number): Rule[] {
  return Array.from({ length: rulesOfPod / 2 }, (_, index) => {
    const port = 1000 + index * 20;
    const peer = index % 5 === 0 ? block(`10.${index}.${pod}.0/24`) : { members: key((pod + index) % membershipsMax) };
    return rule([index % 10 === 1 ? tcp(port, port + 100) : tcp(port)], peer);
  });
}

function fullNode(): CompileInput {
  return {
    subjects: Array.from({ length: pods }, (_, pod) => ({
      subject: {
        egress: [layerOf(rules(pod), { direction: "egress", id: `egress ${pod}` })],
        ingress: [layerOf(rules(pod), { id: `ingress ${pod}` })],
      },
      classNumber: 101 + pod,
    })),
    memberships: new Map(Array.from({ length: membershipsMax }, (_, number) => [key(number), [members(number)]])),
    links: new Set(),
    groupsJudgeOwnNode: true,
  };
}

/** CPU time of this thread: what others do on the machine is not in it. */
function took(t: TestContext, what: string, work: () => unknown): number {
  const before = process.threadCpuUsage();
  work();
  const { user, system } = process.threadCpuUsage(before);
  const tookMs = (user + system) / 1000;
  t.diagnostic(`${what}: ${tookMs.toFixed(1)} ms`);
  return tookMs;
}

void test("a full node: 110 pods of 300 rules each, no two alike, and 20,000 addresses", (t) => {
  const { compile } = createCompiler({ ports: Infinity, rules: Infinity, addresses: Infinity }); // no ruleset of the kernel holds that
  const input = fullNode();
  assert.ok(took(t, "everything for the first time", () => compile(input)) < 2000);
  assert.ok(took(t, "nothing changed", () => compile(input)) < 50);

  const told = new Map(input.memberships);
  told.set(key(7), [...(told.get(key(7)) ?? []), [{ address: ip("10.9.9.9"), ports: [] }]]);
  assert.ok(took(t, "one member more", () => compile({ ...input, memberships: told })) < 50);

  const anew = [...fullNode().subjects];
  const edited = anew.map((one, pod) => (pod === 5 ? { ...one, subject: { ...one.subject, ingress: [moved] } } : one));
  assert.ok(took(t, "one rule edited and all objects read anew", () => compile({ ...input, subjects: edited })) < 300);
});

/** The layer of pod 5 with another port in one of its rules. */
const moved: Layer = layerOf([...rules(5).slice(1), rule([tcp(7)], { members: key(1) })], { id: "ingress 5" });

void test("an object of ten thousand ranges and ten thousand peers does not become their product", (t) => {
  const ports = Array.from({ length: 10_000 }, (_, index) => tcp(index + 1, index + 1000));
  const singles = Array.from({ length: 10_000 }, (_, index) => tcp(index + 1));
  const peers = Array.from({ length: 10_000 }, (_, index) => ({ members: key(index) }));
  const huge = layerOf([rule(ports, ...peers), rule(singles, ...peers.slice(1))]);
  const takenMs = took(t, "too large", () => {
    const { chains, leftOut } = compileLayer(huge);
    const lookups = chains.ports.length + chains.rest.length + chains.peerLists.flat().length;
    assert.ok(lookups <= layerLookupsMax + 2 * peers.length, `${lookups} lookups`);
    assert.equal(leftOut, ports.length + singles.length - chains.ports.length);
  });
  assert.ok(takenMs < 3000);
});

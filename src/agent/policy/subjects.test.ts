// Pods as policy sees them: what is known of each, what stays the same object, and what an ended pod no longer has.

import assert from "node:assert/strict";
import { test } from "node:test";
import { testIp, testWired } from "../../../test/store.contract.ts";
import { present } from "../../base/assert.ts";
import type { Held } from "../../ipam/pool.ts";
import { attachmentKey, type Wired } from "../../ipam/store.ts";
import { type Pod, pods } from "../../kube/core-objects.ts";
import {
  type NetworkPolicy,
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroups,
  serviceAccounts,
} from "../../kube/policy-objects.ts";
import { layersOf } from "../../policy/layers.ts";
import { readObjects, type ReadObjects } from "../../policy/read-objects.ts";
import { createMemberships } from "./memberships.ts";
import { createSubjects } from "./subjects.ts";

const attachment = testWired({ pod: { namespace: "shop", name: "web-0", uid: "u1" } });
const held = (one: Wired, part: Partial<Held> = {}): Held => ({
  attachment: one,
  state: "ready",
  leaving: false,
  ...part,
});

const podWith = (labels: Record<string, string>, phase = "Running"): Pod =>
  pods.parse({
    metadata: { namespace: "shop", name: "web-0", uid: "u1", labels },
    spec: { nodeName: "a", serviceAccountName: "web" },
    status: { phase },
  });

const isolating: NetworkPolicy = networkPolicies.parse({
  metadata: { namespace: "shop", name: "front" },
  spec: {
    podSelector: { matchLabels: { app: "web" } },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }] }],
  },
});

const read = (policies: readonly NetworkPolicy[]): ReadObjects =>
  readObjects({
    namespaces: [],
    serviceAccounts: [],
    networkPolicies: policies,
    groups: [],
    bindings: [],
    groupPolicies: [],
  });

void test("a pod is judged by what the API server says of it, and by what it said last once its object is gone", () => {
  let object: Pod | undefined = podWith({ app: "web" });
  const subjects = createSubjects({ nodeName: "a", findPod: () => object, known: new Map() });
  const objects = read([isolating]);
  const rulesNow = (): number | undefined => subjects.of([held(attachment)], objects)[0]?.ingress[0]?.rules.length;
  assert.equal(rulesNow(), 1);
  object = podWith({ app: "db" });
  assert.equal(rulesNow(), undefined, "a label that changes changes what judges");
  object = podWith({ app: "web" });
  assert.equal(rulesNow(), 1);
  object = undefined;
  assert.equal(rulesNow(), 1, "the sandbox outlives its object");
});

void test("an agent that starts in an outage judges by what an earlier one knew", () => {
  const first = createSubjects({ nodeName: "a", findPod: () => podWith({ app: "web" }), known: new Map() });
  first.of([held(attachment)], read([]));
  const second = createSubjects({ nodeName: "a", findPod: () => undefined, known: first.pods() });
  assert.equal(second.of([held(attachment)], read([isolating]))[0]?.ingress.length, 1);
});

void test("a pod that nobody knows is closed by whatever could be about it, a member of nothing, and not remembered", () => {
  const objects = read([isolating]);
  const subjects = createSubjects({ nodeName: "a", findPod: () => undefined, known: new Map() });
  const [closed] = subjects.of([held(attachment)], objects);
  assert.equal(closed?.isKnown, false);
  assert.deepEqual(
    closed.ingress.map(({ rules, otherwise }) => [rules.length, otherwise]),
    [[0, "deny"]],
  );
  assert.deepEqual(closed.egress, []);
  assert.deepEqual([...subjects.pods()], [], "what is not known is not kept");
  assert.deepEqual(
    subjects.of([held(attachment)], read([]))[0]?.ingress,
    [],
    "in a namespace without policy it is open",
  );
});

void test("a pod of which its caller alone has said anything is what it said, also to an agent that knows nothing else", () => {
  const { uid: _uid, ...names } = present(attachment.pod, "a pod");
  const labelled: Wired = { ...attachment, pod: names, labels: { app: "web" } };
  const files: { pod?: Pod } = {};
  const subjects = createSubjects({ nodeName: "a", findPod: () => files.pod, known: new Map() });
  const objects = read([isolating]);
  const now = (): unknown[] =>
    subjects.of([held(labelled)], objects).map(({ isKnown, pod, ingress }) => [isKnown, pod.labels, ingress.length]);
  assert.deepEqual(now(), [[true, { app: "web" }, 1]]);
  files.pod = podWith({ app: "db" });
  assert.deepEqual(now(), [[true, { app: "db" }, 0]], "a file says more");
});

void test("a new sandbox of a pod is judged by what was known of the last one, while nobody else says", () => {
  let object: Pod | undefined = podWith({ app: "web" });
  const subjects = createSubjects({ nodeName: "a", findPod: () => object, known: new Map() });
  const objects = read([isolating]);
  subjects.of([held(attachment)], objects);
  object = undefined;
  const next = testWired({ containerId: "c9", pod: { namespace: "shop", name: "web-0", uid: "u1" } });
  subjects.of([], objects);
  const [judged] = subjects.of([held(next)], objects);
  assert.equal(judged?.isKnown, true);
  assert.deepEqual(judged.pod.labels, { app: "web" });
});

void test("pods that differ in anything that decides have layers of their own", () => {
  const objects = readObjects({
    namespaces: ["shop", "bank"].map((name) => namespaces.parse({ metadata: { name } })),
    serviceAccounts: ["web", "other"].map((name) =>
      serviceAccounts.parse({ metadata: { namespace: "shop", name, labels: { account: name } } }),
    ),
    networkPolicies: [
      networkPolicies.parse({
        metadata: { namespace: "shop", name: "http" },
        spec: { podSelector: { matchLabels: { app: "web" } }, ingress: [{ ports: [{ port: "http" }] }] },
      }),
    ],
    groups: [securityGroups.parse({ metadata: { name: "g" }, spec: { bindableFrom: {}, ingress: [] } })],
    bindings: [
      securityGroupBindings.parse({
        metadata: { namespace: "shop", name: "b" },
        spec: { serviceAccountSelector: { matchLabels: { account: "web" } }, groups: ["g"] },
      }),
    ],
    groupPolicies: [],
  });
  const podOf = (part: { namespace?: string; labels?: object; account?: string; port?: number }): Pod =>
    pods.parse({
      metadata: {
        namespace: part.namespace ?? "shop",
        name: "web-0",
        uid: "u1",
        labels: part.labels ?? { app: "web" },
      },
      spec: {
        nodeName: "a",
        serviceAccountName: part.account ?? "web",
        containers: [{ name: "c", ports: [{ name: "http", containerPort: part.port ?? 8080 }] }],
      },
    });
  const differing = [{ namespace: "bank" }, { labels: {} }, { account: "other" }, { port: 8081 }].map(podOf);
  for (const [first, second] of differing.flatMap((one) => [
    [podOf({}), one],
    [one, podOf({})],
  ])) {
    let object = first;
    const subjects = createSubjects({ nodeName: "a", findPod: () => object, known: new Map() });
    const judged = (): unknown => {
      const { egress, ingress, pod } = present(subjects.of([held(attachment)], objects)[0], "a pod");
      assert.deepEqual(
        { egress, ingress },
        { egress: layersOf(pod, objects).egress, ingress: layersOf(pod, objects).ingress },
      );
      return ingress;
    };
    const before = judged();
    object = second;
    assert.notDeepEqual(judged(), before);
  }
});

void test("what has not changed is the same object, layers of equal ids are shared", () => {
  const other = testWired({ containerId: "c2", pod: { namespace: "shop", name: "web-1", uid: "u2" } });
  const subjects = createSubjects({ nodeName: "a", findPod: () => podWith({ app: "web" }), known: new Map() });
  const objects = read([isolating]);
  const [one, two] = subjects.of([held(attachment), held(other)], objects);
  assert.equal(one?.ingress[0], two?.ingress[0]);
  assert.equal(subjects.of([held(attachment), held(other)], objects)[0], one);
  assert.notEqual(subjects.of([held(attachment)], read([isolating]))[0], one, "other objects, other layers");
});

void test("pods that leave are judged no more, and nothing is remembered of those that are gone", () => {
  const subjects = createSubjects({ nodeName: "a", findPod: () => podWith({}), known: new Map() });
  subjects.of([held(attachment)], read([]));
  assert.deepEqual([...subjects.pods().keys()], [attachmentKey(attachment)]);
  assert.deepEqual(subjects.of([held(attachment, { leaving: true })], read([])), []);
  subjects.of([], read([]));
  assert.deepEqual([...subjects.pods().keys()], []);
});

void test("a pod of this node is a member before the controller says so, once; one that has ended is none", () => {
  const objects = read([isolating]);
  const [key] = objects.memberships.keys();
  const address = attachment.addresses[0] ?? testIp("10.4.1.2");
  const membersBy = (phase: string, told: readonly { address: typeof address; ports: [] }[]): string[] => {
    const findPod = (): Pod => podWith({ app: "web" }, phase);
    const judged = createSubjects({ nodeName: "a", findPod, known: new Map() }).of([held(attachment)], objects);
    const membershipsOf = createMemberships();
    const known = new Map([[present(key, "membership"), [told]]]);
    const own = { pods: judged.map(({ pod }) => pod), addresses: new Set(attachment.addresses) };
    const all = membershipsOf(known, own, objects);
    return (all.get(present(key, "membership")) ?? []).flat().map((member) => member.address);
  };
  assert.deepEqual(membersBy("Running", []), attachment.addresses);
  assert.deepEqual(membersBy("Running", [{ address, ports: [] }]), attachment.addresses);
  assert.deepEqual(membersBy("Succeeded", []), []);
  assert.deepEqual(membersBy("Succeeded", [{ address, ports: [] }]), [], "whose address it is the node knows best");
});

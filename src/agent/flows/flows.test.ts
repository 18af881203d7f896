// The flow log over the fake kernel: what becomes of logged packets and of connections, who is named, what is counted, and when it listens.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { connection } from "../../../test/conntrack-entries.ts";
import { address, policyWorld } from "../../../test/policy-world.ts";
import { until } from "../../../test/until.ts";
import { Fault } from "../../base/fault.ts";
import { silentLog } from "../../base/log.ts";
import { createFakeKernel, type FakeKernel } from "../../kernel/fake.ts";
import type { LoggedPacket } from "../../kernel/flow-log-contract.ts";
import { createFlows, type Flows, type FlowsAnswer, type FlowsQuestion } from "./flows.ts";
import { podBurst } from "./ring.ts";

const pods = { "shop/web": { labels: { app: "web" } }, "shop/db": { labels: { app: "db" } }, "shop/trial": {} };
const [web, db, trial, stranger] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.9"].map(address) as [
  ReturnType<typeof address>,
  ReturnType<typeof address>,
  ReturnType<typeof address>,
  ReturnType<typeof address>,
];
const elsewhere = address("10.4.2.7");
const [tcp, icmp] = [6, 1];

/** db lets in web by tcp 5432; trial is on probation in two groups' egress and a policy's ingress. */
const objects = `
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress: [{ ports: [{ port: 5432 }], from: [{ podSelector: { matchLabels: { app: web } } }] }]
---
kind: SecurityGroup
metadata: { name: careful }
spec: { bindableFrom: {}, mode: audit, egress: [], ingress: [] }
---
kind: SecurityGroupBinding
metadata: { name: careful, namespace: shop }
spec: { podSelector: { matchExpressions: [{ key: app, operator: DoesNotExist }] }, groups: [careful] }
---
kind: NetworkPolicy
metadata: { name: trial, namespace: shop, annotations: { fairlead.dev/mode: audit } }
spec: { podSelector: { matchExpressions: [{ key: app, operator: DoesNotExist }] }, policyTypes: [Egress] }
`;

function packet(
  source: typeof web,
  destination: typeof web,
  port: number,
  outcome: LoggedPacket["outcome"] = "denied",
): LoggedPacket {
  return {
    what: "packet",
    outcome,
    head: { source, destination, protocol: tcp, sourcePort: 40_000, destinationPort: port },
  };
}

interface Stand {
  kernel: FakeKernel;
  flows: Flows;
  ask: (question?: Partial<FlowsQuestion>) => FlowsAnswer;
  /** Settles when so many records are there. */
  records: (count: number) => Promise<FlowsAnswer["records"]>;
  counted: Map<string, number>;
  denied: string[];
  stop: () => Promise<void>;
}

async function stand(t: TestContext, { policy = objects, listening = true } = {}): Promise<Stand> {
  const kernel = createFakeKernel();
  const counted = new Map<string, number>();
  const denied: string[] = [];
  const world = policyWorld({ pods, objects: policy, nodes: { n1: ["172.30.0.11"] } });
  const flows = createFlows({
    kernel,
    nodeName: "n1",
    log: silentLog(),
    metrics: {
      flow: (outcome, fate, count) =>
        counted.set(`${outcome} ${fate}`, (counted.get(`${outcome} ${fate}`) ?? 0) + count),
    },
    definitions: () => world.model.definitions,
    otherPodAt: async (address) => (address === elsewhere ? "bank/teller" : undefined),
    onDenied: ({ namespace, name }, { objects }) => denied.push(`${namespace}/${name} by ${objects.join()}`),
  });
  flows.judgeBy(world.model);
  const end = new AbortController();
  const loop = flows.start(end.signal, () => {});
  const stop = async (): Promise<void> => {
    end.abort();
    await loop.done;
  };
  t.after(stop);
  const ask: Stand["ask"] = (question = {}) =>
    flows.answer({ after: 0, denied: false, connections: false, ...question });
  if (listening) await until("it listens", () => ask().failing === undefined);
  const records: Stand["records"] = async (count) => {
    await until(`${count} records`, () => ask().newest >= count);
    return ask().records;
  };
  return { kernel, flows, ask, records, counted, denied, stop };
}

void test("a denied packet is told with both ends, the judgement that denied it, its objects and the reason", async (t) => {
  const { kernel, records, ask, denied, counted } = await stand(t);
  kernel.logPacket(packet(web, db, 22));
  kernel.logPacket({
    ...packet(stranger, db, 0),
    head: { source: stranger, destination: db, protocol: icmp, icmp: { type: 8, code: 0 } },
  });
  const [first, second] = await records(2);
  assert.deepEqual(
    { ...first, atMs: 0 },
    {
      number: 1,
      atMs: 0,
      outcome: "denied",
      source: { address: web, pod: "shop/web" },
      destination: { address: db, pod: "shop/db" },
      protocol: "tcp",
      sourcePort: 40_000,
      port: 22,
      direction: "ingress",
      layer: "NetworkPolicy",
      pod: "shop/db",
      objects: ["NetworkPolicy shop/db"],
      rules: [],
      reason: "no rule allows tcp 22 from pod shop/web (10.0.0.1)",
    },
  );
  assert.deepEqual(
    [second?.source, second?.protocol, second?.icmp],
    [{ address: stranger }, "icmp", { type: 8, code: 0 }],
  );
  assert.deepEqual(denied, ["shop/db by NetworkPolicy shop/db", "shop/db by NetworkPolicy shop/db"]);
  assert.deepEqual([...counted], [["denied told", 2]]);
  assert.deepEqual(ask({ after: 1 }).records.length, 1);
  assert.deepEqual(ask({ pod: "shop/web" }).records.length, 1);
  assert.deepEqual(ask({ pod: "shop/nobody" }).records, []);
});

void test("a pod of another node has its name once it is known; without one an end is an address", async (t) => {
  const { kernel, records, ask } = await stand(t);
  kernel.logPacket(packet(elsewhere, db, 22));
  kernel.logPacket(packet(stranger, db, 22));
  await records(2);
  await until("it has its name", () => ask().records[0]?.source.pod === "bank/teller");
  assert.deepEqual(ask().records[1]?.source, { address: stranger });
  assert.equal(ask({ pod: "bank/teller" }).records.length, 1);
});

void test("an audited packet is told once, with everything on probation that it did not pass, though the kernel logs it for each", async (t) => {
  const { kernel, records, ask, denied } = await stand(t);
  const one = packet(trial, stranger, 80, "audited");
  for (let n = 0; n < 4; n += 1) kernel.logPacket(one);
  kernel.logPacket(packet(trial, stranger, 81, "audited"));
  const told = await records(3);
  assert.deepEqual(
    told.map(({ port, outcome, objects }) => [port, outcome, objects]),
    [
      [80, "audited", ["NetworkPolicy shop/trial", "SecurityGroup careful"]],
      [80, "audited", ["NetworkPolicy shop/trial", "SecurityGroup careful"]],
      [81, "audited", ["NetworkPolicy shop/trial", "SecurityGroup careful"]],
    ],
  );
  assert.equal(ask().newest, 3);
  assert.deepEqual(denied, []);
});

void test("a packet that was judged by the policy before is explained by that; one that neither would deny is told as such", async (t) => {
  const { kernel, flows, records } = await stand(t);
  const open = policyWorld({ pods, nodes: { n1: ["172.30.0.11"] } }).model;
  flows.judgeBy(open);
  kernel.logPacket(packet(web, db, 22));
  assert.deepEqual((await records(1))[0]?.objects, ["NetworkPolicy shop/db"]);
  flows.judgeBy(open);
  kernel.logPacket(packet(web, db, 22));
  const late = (await records(2))[1];
  assert.deepEqual([late?.objects, late?.reason], [[], "by a policy that has changed since"]);
  assert.equal(late?.source.pod, "shop/web");
});

void test("a packet that is judged by the policy that is on its way into the kernel is explained by that", async (t) => {
  const { kernel, flows, records } = await stand(t);
  const open = policyWorld({ pods, nodes: { n1: ["172.30.0.11"] } }).model;
  for (let times = 0; times < 2; times += 1) flows.judgeBy(open);
  flows.expect(policyWorld({ pods, objects, nodes: { n1: ["172.30.0.11"] } }).model);
  kernel.logPacket(packet(web, db, 22));
  assert.deepEqual((await records(1))[0]?.objects, ["NetworkPolicy shop/db"]);
});

void test("what one pod tells is bounded, others are told; what is lost or unreadable is counted", async (t) => {
  const { kernel, ask, records, counted } = await stand(t);
  for (let n = 0; n < podBurst + 100; n += 1) kernel.logPacket(packet(web, db, 22));
  kernel.logPacket(packet(stranger, db, 22));
  kernel.logPacket({ what: "lost", packets: 7 });
  kernel.logPacket({ what: "unread" });
  await until("all was heard", () => counted.has("unknown unread"));
  const suppressed = counted.get("denied suppressed") ?? 0;
  assert.ok(suppressed >= 60 && suppressed <= 100, String(suppressed));
  const all = await records(podBurst + 1);
  assert.ok(all.some(({ source }) => source.address === stranger));
  const { lost, unread, suppressed: named } = ask();
  assert.deepEqual([lost, unread, named], [7, 1, [{ pod: "shop/web", flows: suppressed }]]);
  assert.equal(counted.get("unknown lost"), 7);
});

void test("connections are followed while somebody asks for them, and told with the rules that allow them", async (t) => {
  const { kernel, ask, records } = await stand(t);
  const one = connection(tcp, { source: web, destination: db, sourcePort: 40_000, destinationPort: 5432 });
  kernel.track(one);
  await kernel.conntrack.forget([web]);
  assert.equal(ask({ denied: true }).newest, 0);
  const isFollowed = (): boolean => {
    try {
      kernel.flowLog.connections(
        () => [],
        () => undefined,
      )();
      return false;
    } catch {
      return true;
    }
  };
  assert.ok(!isFollowed(), "nobody has asked");
  ask({ connections: true });
  await until("they are followed", isFollowed);
  kernel.track(one);
  await kernel.conntrack.forget([web]);
  const told = await records(2);
  assert.deepEqual(
    told.map(({ outcome, source, destination, rules }) => [outcome, source.pod, destination.pod, rules]),
    ["began", "ended"].map((outcome) => [outcome, "shop/web", "shop/db", ["NetworkPolicy shop/db ingress rule 1"]]),
  );
  assert.deepEqual(ask({ denied: true }).records, []);
});

void test("where the kernel refuses it says why, and tries again; when it ends nobody listens", async (t) => {
  const kernelBusy = new Fault("kernel-busy", "another program has nflog group 5");
  const { kernel, ask, stop, records } = await stand(t, { listening: false });
  await until("it listens", () => ask().failing === undefined);
  await stop();
  kernel.failNext("flowLog.packets", kernelBusy);
  const flows = createFlows({
    kernel,
    nodeName: "n1",
    log: silentLog(),
    metrics: { flow: () => undefined },
    definitions: () => new Map(),
    otherPodAt: async () => undefined,
    onDenied: () => undefined,
  });
  const end = new AbortController();
  t.after(() => end.abort());
  const question = { after: 0, denied: false, connections: false };
  flows.start(end.signal, () => {});
  await until("it says why", () => flows.answer(question).failing?.includes("another program") === true);
  await until("it listens after all", () => flows.answer(question).failing === undefined);
  kernel.logPacket(packet(web, db, 22));
  await until("it is told", () => flows.answer(question).newest === 1);
  assert.equal(flows.answer(question).records[0]?.reason, "it is not known yet who may talk to whom");
  assert.equal((await records(0)).length, 0, "the one that ended hears nothing");
});

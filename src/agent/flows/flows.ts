// The flow log of this node: listens while the agent runs, joins what it hears with names and reasons, and keeps the newest for who asks.

import { randomUUID } from "node:crypto";
import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Metrics } from "../../base/metrics.ts";
import type { Kernel } from "../../kernel/contract.ts";
import type { ConnectionEvent, Logged } from "../../kernel/flow-log-contract.ts";
import type { Ip } from "../../net/ip.ts";
import type { Model } from "../../policy/model.ts";
import type { Definitions } from "../../policy/packet-text.ts";
import {
  createExplainer,
  type DeniedPod,
  type Explained,
  type Explainer,
  type Flow,
  type FlowRecord,
  flowOf,
  trafficOf,
} from "./record.ts";
import { createAllowance, createRing } from "./ring.ts";

/** How long connections are followed after the last question for them. */
export const connectionsLeaseMs = 10_000;

export interface FlowsDeps {
  kernel: Pick<Kernel, "flowLog">;
  nodeName: string;
  log: Log;
  metrics: Pick<Metrics, "flow">;
  /** What memberships stand for, as policy knows it now. */
  definitions: () => Definitions;
  /** The pod that has an address on another node: "shop/web". Never rejects. */
  otherPodAt: (address: Ip) => Promise<string | undefined>;
  /** A denied packet is told of a pod. */
  onDenied: (pod: DeniedPod, by: Explained) => void;
}

export interface FlowsQuestion {
  /** Records after this number; 0: all that are kept. */
  after: number;
  /** Only what no rule allowed: denied, or audited on probation. */
  denied: boolean;
  /** Only flows of this pod, "shop/web": as sender, as target, or as the one that is judged. */
  pod?: string;
  /** Connections that begin and end, too: they are followed from the first question on. */
  connections: boolean;
}

/** What `GET /flows` answers; it only ever gains keys. */
export interface FlowsAnswer {
  node: string;
  /** Another one after each start of the agent: numbers begin anew then. */
  run: string;
  newest: number;
  records: FlowRecord[];
  /** Pods of which not everything is told, since the start. */
  suppressed: { pod: string; flows: number }[];
  /** Logged packets that were lost on their way from the kernel, and such that nobody can read, since the start. */
  lost: number;
  unread: number;
  /** How often connections were lost, nobody knows how many. */
  lostEvents: number;
  /** Why nothing comes in, where it is so. */
  failing?: string;
}

export interface Flows {
  /** What the kernel is about to judge by: packets are told of from then on that it has judged by this already. */
  expect(model: Model): void;
  /** What the kernel judges by now. */
  judgeBy(model: Model): void;
  answer(question: FlowsQuestion): FlowsAnswer;
  start(signal: AbortSignal, onPass: (pass: LoopPass) => void): Loop;
}

/** Prepares the flow log; nothing is heard before it is started. */
export function createFlows(deps: FlowsDeps): Flows {
  const { kernel, nodeName, log, metrics, definitions, otherPodAt, onDenied } = deps;
  const run = randomUUID();
  const ring = createRing();
  const clock = (): number => performance.now();
  const [denials, connections] = [createAllowance(clock), createAllowance(clock)];
  const counts = { lost: 0, unread: 0, lostEvents: 0 };
  /** By the newest policy, by the one before it, and by the one to come: a packet can have been judged by these, too. Made when a packet asks. */
  let [newest, before, coming]: (() => Explainer)[] = [];
  let podAddresses: readonly Ip[] = [];
  let failing: string | undefined = "the agent has just started";
  let stops: { packets?: () => void; connections?: () => void } = {};
  let askedConnectionsMs = -Infinity;
  let loop: Loop | undefined;
  /** The last audited packet, and how often more it is going to be told. */
  let audited = { text: "", left: 0 };

  const endOf = (address: Ip): FlowRecord["source"] => newest?.().endOf(address) ?? { address };
  const explain = (flow: Flow): Explained | undefined =>
    newest?.().explain(flow) ?? before?.().explain(flow) ?? coming?.().explain(flow);

  /** The record has it as soon as it is known. */
  async function addName(end: FlowRecord["source"]): Promise<void> {
    const pod = await otherPodAt(end.address);
    if (pod !== undefined) end.pod = pod;
  }

  function take(flow: Flow, allowance: typeof denials): void {
    const [source, destination] = [endOf(flow.packet.source), endOf(flow.packet.destination)];
    const pod = source.pod ?? destination.pod ?? "";
    const allowed = allowance.take(pod);
    metrics.flow(flow.outcome, allowed === undefined ? "suppressed" : "told", 1);
    if (allowed === undefined) return;
    const explained = explain(flow);
    const judged = explained?.pod === undefined ? undefined : newest?.().podNamed(explained.pod);
    if (flow.outcome === "denied" && explained !== undefined && judged !== undefined) onDenied(judged, explained);
    if (flow.outcome === "audited") audited = { text: JSON.stringify(flow), left: (explained?.times ?? 1) - 1 };
    const { times: _, ...why } = explained ?? {
      objects: [],
      rules: [],
      reason: unexplained(newest !== undefined),
      times: 1,
    };
    const { suppressed } = allowed;
    ring.add({
      atMs: Date.now(),
      outcome: flow.outcome,
      source,
      destination,
      ...trafficOf(flow),
      ...why,
      ...(suppressed === 0 ? {} : { suppressed }),
    });
    for (const end of [source, destination]) if (end.pod === undefined && end.node === undefined) void addName(end);
  }

  /** The kernel logs an audited packet once for each judgement; it is told once. */
  function isRepeated(flow: Flow): boolean {
    if (flow.outcome !== "audited" || audited.left === 0 || JSON.stringify(flow) !== audited.text) return false;
    audited.left -= 1;
    return true;
  }

  function miss(fate: "lost" | "unread", packets: number): void {
    counts[fate] += packets;
    metrics.flow("unknown", fate, packets);
  }

  function onLogged(told: Logged): void {
    if (told.what === "lost") miss("lost", told.packets);
    else if (told.what === "unread") miss("unread", 1);
    else {
      const flow = flowOf(told);
      if (!isRepeated(flow)) take(flow, denials);
    }
  }

  function onConnection(event: ConnectionEvent): void {
    if (event.what === "lost") counts.lostEvents += 1;
    else take(flowOf(event), connections);
  }

  const isAsked = (): boolean => clock() - askedConnectionsMs < connectionsLeaseMs;

  async function sync(): Promise<void> {
    try {
      stops.packets ??= await kernel.flowLog.packets(onLogged);
      if (isAsked()) stops.connections ??= kernel.flowLog.connections(() => podAddresses, onConnection);
      else if (stops.connections !== undefined) {
        stops.connections();
        delete stops.connections;
        log.debug("nobody asks for connections any more: they are followed no longer");
      }
      failing = undefined;
    } catch (error) {
      failing = describe(error);
      throw error;
    }
  }

  return {
    expect: (model) => {
      coming = once(() => createExplainer(model, definitions()));
    },
    judgeBy: (model) => {
      coming = undefined;
      before = newest;
      podAddresses = model.subjects.flatMap(({ pod }) => pod.addresses);
      newest = once(() => createExplainer(model, definitions()));
    },
    answer: ({ after, connections: areWanted, ...wanted }) => {
      if (areWanted) {
        askedConnectionsMs = clock();
        if (stops.connections === undefined) loop?.trigger();
      }
      return {
        node: nodeName,
        run,
        newest: ring.newest(),
        records: ring.after(after, (record) => isWanted(record, wanted)),
        suppressed: denials.suppressed(),
        ...counts,
        ...(failing === undefined ? {} : { failing }),
      };
    },
    start: (signal, onPass) => {
      const pace = { minMs: 100, retryMs: 500, retryMaxMs: 30_000, maxMs: () => (isAsked() ? 1_000 : 30_000) };
      loop = startLoop({ name: "flow-log", ...pace, sync, signal, onPass });
      const done = loop.done.finally(() => {
        for (const stop of Object.values(stops)) stop();
        stops = {};
      });
      return { ...loop, done };
    },
  };
}

function isWanted(
  { outcome, source, destination, pod: judged }: FlowRecord,
  { denied, pod }: Pick<FlowsQuestion, "denied" | "pod">,
): boolean {
  if (denied && outcome !== "denied" && outcome !== "audited") return false;
  return pod === undefined || [source.pod, destination.pod, judged].includes(pod);
}

const unexplained = (isKnown: boolean): string =>
  isKnown ? "by a policy that has changed since" : "it is not known yet who may talk to whom";

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

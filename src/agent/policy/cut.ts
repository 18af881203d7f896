// Connections that no longer pass: judged as policy is now, and cut, so that an edit holds for what was open before it too.

import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, restOf, startLoop } from "../../base/loop.ts";
import { conntrackAddressesMax, type Connection, type Conntrack } from "../../kernel/contract.ts";
import type { Ip } from "../../net/ip.ts";
import { createJudge, type Judge } from "../../policy/judge.ts";
import type { Model, Packet, Subject } from "../../policy/model.ts";

export interface CutDeps {
  conntrack: Conntrack;
  log: Log;
  /** In milliseconds, never going back. */
  clock: () => number;
}

export interface Cutting {
  /** One walk, where one is due. */
  sync: () => Promise<void>;
  /** What the kernel is about to judge by: what this allows is not cut any more. */
  expect: (model: Model) => void;
  /** What the kernel judges by now; `isNarrower`: connections may be open that it denies, which are looked for. */
  judgeBy: (model: Model, isNarrower: boolean) => void;
  /** In how many ms a walk is due, though nobody asks. */
  dueMs: () => number;
}

/** Between walks for edits in a row: a small share of a processor goes into them, up to half of one where very many connections are tracked. */
const restMs = restOf({ times: 10, leastMs: 50, mostMs: 500 });
/** So long after the first walk after a change comes another: for what was on its way meanwhile. */
const againAfterMs = 1_000;
const quietMaxMs = 60_000;
/** Timers may be so much early: what is due a moment later would be late by a whole rest. */
const timerErrorMs = 1;

/** Prepares what cuts; `wake` asks for a walk. */
export function prepareCutting({ conntrack, log, clock }: CutDeps, wake: () => void): Cutting {
  /** Both must deny what is cut: a connection can begin while the one becomes the other. */
  let [now, coming]: (Model | undefined)[] = [];
  let isAsked = false;
  let againMs: number | undefined;
  const sync = async (): Promise<void> => {
    const startedMs = clock();
    const isFirst = isAsked;
    if (now === undefined || !(isFirst || (againMs ?? Infinity) <= startedMs)) return;
    isAsked = false;
    againMs = isFirst ? startedMs + againAfterMs : undefined;
    try {
      const cut = await cutDenied(
        now,
        conntrack,
        createNewest(() => [now, coming]),
      );
      if (cut > 0) log.info({ connections: cut }, "connections cut: policy no longer allows them");
    } catch (error) {
      isAsked = true;
      throw error;
    }
  };
  return {
    sync,
    expect: (model) => {
      coming = model;
    },
    judgeBy: (model, isNarrower) => {
      now = model;
      coming = undefined;
      if (!isNarrower) return;
      isAsked = true;
      wake();
    },
    dueMs: () => (againMs === undefined ? quietMaxMs : Math.max(0, againMs - clock() + timerErrorMs)),
  };
}

/** Starts the loop that cuts. */
export function startCutting({ sync, dueMs }: Cutting, signal: AbortSignal, onPass: (pass: LoopPass) => void): Loop {
  const pace = { minMs: restMs, retryMs: 500, retryMaxMs: 10_000, maxMs: dueMs };
  return startLoop({ name: "cut", ...pace, sync, signal, onPass });
}

/** Gives what asks the newest models, which can change while the table is walked: true where each of them denies. */
function createNewest(models: () => readonly (Model | undefined)[]): (packet: Packet) => boolean {
  const judges = new WeakMap<Model, Judge>();
  return (packet) =>
    models().every((model) => {
      if (model === undefined) return true;
      const judge = judges.get(model) ?? createJudge(model);
      judges.set(model, judge);
      return !judge.verdict(packet).passes;
    });
}

/** One walk for each `conntrackAddressesMax` addresses of the model's pods: gives how many connections were cut. */
export async function cutDenied(
  model: Model,
  conntrack: Pick<Conntrack, "cut">,
  isDenied: (packet: Packet) => boolean,
): Promise<number> {
  // What is closed to all pods is closed to those that nothing else judges, too.
  const isJudged = ({ egress, ingress }: Subject): boolean =>
    model.metadata === "closed" || egress.length + ingress.length > 0;
  const judged = model.subjects.filter(isJudged);
  const addresses = judged.flatMap(({ pod }): readonly Ip[] => pod.addresses);
  let gone = 0;
  for (let at = 0; at < addresses.length; at += conntrackAddressesMax) {
    const some = addresses.slice(at, at + conntrackAddressesMax);
    gone += await conntrack.cut(some, (connection) => isDenied(firstPacket(connection)));
  }
  return gone;
}

/** The packet that began the connection, as the forward hook saw it: to where the target really is, from whom it really came. */
export function firstPacket({ protocol, original, reply }: Connection): Packet {
  const { icmp } = original;
  return {
    source: original.source,
    destination: reply.source,
    protocol,
    ...(reply.sourcePort === undefined ? {} : { destinationPort: reply.sourcePort }),
    ...(icmp === undefined ? {} : { icmp: { type: icmp.type, code: icmp.code } }),
  };
}

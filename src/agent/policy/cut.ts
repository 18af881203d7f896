// Connections that no longer pass: judged as policy is now, and cut, so that an edit holds for what was open before it too.

import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import { conntrackAddressesMax, type Connection, type Conntrack } from "../../kernel/contract.ts";
import type { Ip } from "../../net/ip.ts";
import { createJudge } from "../../policy/judge.ts";
import type { Model, Packet } from "../../policy/model.ts";

export interface CutDeps {
  conntrack: Conntrack;
  log: Log;
}

export interface Cutting {
  loop: Loop;
  /** From now on connections are judged by this model: looked at at once, and once more for what was on its way meanwhile. */
  judgeBy: (model: Model) => void;
}

/** The table of connections is walked at most that often. */
const walkEveryMs = 1_000;
/** Walks after a change of the model. */
const walksMax = 2;

/** Starts the loop that cuts. */
export function startCutting(
  { conntrack, log }: CutDeps,
  signal: AbortSignal,
  onPass: (pass: LoopPass) => void,
): Cutting {
  let model: Model | undefined;
  let walks = 0;
  const sync = async (): Promise<void> => {
    if (model === undefined || walks === 0) return;
    const left = walks - 1;
    walks = 0;
    try {
      const cut = await cutDenied(model, conntrack);
      if (cut > 0) log.info({ connections: cut }, "connections cut: policy no longer allows them");
    } catch (error) {
      walks = walksMax;
      throw error;
    }
    if (walks === 0 && left > 0) {
      walks = left;
      loop.trigger();
    }
  };
  const loop = startLoop({
    name: "cut",
    minMs: walkEveryMs,
    retryMs: 500,
    retryMaxMs: 10_000,
    maxMs: 60_000,
    sync,
    signal,
    onPass,
  });
  return {
    loop,
    judgeBy: (next) => {
      model = next;
      walks = walksMax;
      loop.trigger();
    },
  };
}

/** One walk for each `conntrackAddressesMax` addresses: gives how many connections of this node's pods were cut. */
export async function cutDenied(model: Model, conntrack: Pick<Conntrack, "cut">): Promise<number> {
  const judged = model.subjects.filter(({ egress, ingress }) => egress.length + ingress.length > 0);
  const addresses = judged.flatMap(({ pod }): readonly Ip[] => pod.addresses);
  const judge = createJudge(model);
  let gone = 0;
  for (let at = 0; at < addresses.length; at += conntrackAddressesMax) {
    const some = addresses.slice(at, at + conntrackAddressesMax);
    gone += await conntrack.cut(some, (connection) => !judge.verdict(firstPacket(connection)).passes);
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

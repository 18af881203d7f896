// One flow as people read it: both ends by name, and which object decided, by the explanation that `fairlead why` gives. Pure.

import type { ConnectionEvent, LoggedPacket, PacketHead } from "../../kernel/flow-log-contract.ts";
import type { Ip } from "../../net/ip.ts";
import type { ExplainedJudgement } from "../../policy/explain.ts";
import { createJudge } from "../../policy/judge.ts";
import type { Model, Packet, PolicyPod } from "../../policy/model.ts";
import { type Definitions, podTitle } from "../../policy/packet-text.ts";
import { protocolText } from "../../policy/port.ts";
import { firstPacket } from "../policy/cut.ts";

/** What `GET /flows` tells of one packet or connection; it only ever gains keys. */
export interface FlowRecord {
  /** Counted from 1 since the agent's start. */
  number: number;
  atMs: number;
  outcome: "denied" | "audited" | "began" | "ended";
  source: FlowEnd;
  destination: FlowEnd;
  /** "tcp", "icmp", "protocol 47". */
  protocol: string;
  sourcePort?: number;
  port?: number;
  icmp?: { type: number; code: number };
  /** The judgement that decided: absent where none was asked, or policy has changed since. */
  direction?: "ingress" | "egress";
  layer?: "NetworkPolicy" | "groups" | "metadata";
  /** Whose judgement it is: "shop/web". */
  pod?: string;
  /** Titles: "NetworkPolicy shop/web". Where a rule allows it, the one that it is of. */
  objects: readonly string[];
  rules: readonly string[];
  reason: string;
  /** Packets or connections of the same pod just before, which are not told one by one. */
  suppressed?: number;
}

export interface FlowEnd {
  address: Ip;
  /** "shop/web", where it is a pod of this node, or one that another node has published. */
  pod?: string;
  /** Where it is an address of this node. */
  node?: string;
}

export type DeniedPod = Pick<PolicyPod, "namespace" | "name" | "uid">;

export type Flow = Pick<FlowRecord, "outcome"> & { packet: Packet; sourcePort?: number };

/** What is known of a flow by one state of policy. */
export interface Explainer {
  endOf(address: Ip): FlowEnd;
  /** "shop/web", where it is a pod of this node. */
  podNamed(title: string): DeniedPod | undefined;
  /** Undefined where by this policy the packet would have fared otherwise. */
  explain(flow: Flow): Explained | undefined;
}

export type Explained = Pick<FlowRecord, "direction" | "layer" | "pod" | "objects" | "rules" | "reason"> & {
  /** Judgements that end so: the kernel logs an audited packet once for each. */
  times: number;
};

/** Makes an explainer for `model`; `definitions` say what memberships stand for. */
export function createExplainer(model: Model, definitions: Definitions): Explainer {
  const judge = createJudge({ ...model, definitions });
  const pods = new Map(
    model.subjects.flatMap((subject) => subject.pod.addresses.map((address) => [address, podTitle(subject)])),
  );
  const nodes = new Map([...model.nodes].flatMap(([name, addresses]) => addresses.map((one) => [one, name])));
  return {
    endOf: (address) => {
      const [pod, node] = [pods.get(address), nodes.get(address)];
      return { address, ...(pod === undefined ? {} : { pod }), ...(node === undefined ? {} : { node }) };
    },
    podNamed: (title) => model.subjects.find((subject) => podTitle(subject) === title)?.pod,
    explain: ({ outcome, packet }) => {
      const { always, judgements } = judge.explain(packet);
      if (outcome === "began" || outcome === "ended") return allowedBy(always, judgements);
      // What was audited may have been denied by another judgement; what was denied passed all that came before.
      const so = judgements.filter((one) => one.outcome === outcome);
      const [first] = so;
      if (first === undefined) return undefined;
      return {
        ...judgementOf(first),
        objects: so.flatMap((one, index) => (index === 0 || outcome === "audited" ? one.objects : [])),
        rules: [],
        reason: first.says,
        times: outcome === "audited" ? so.length : 1,
      };
    },
  };
}

const judgementOf = ({ direction, kind, pod }: ExplainedJudgement): Pick<Explained, "direction" | "layer" | "pod"> => ({
  direction,
  layer: kind === "networkPolicy" ? "NetworkPolicy" : kind,
  ...(pod === undefined ? {} : { pod }),
});

function allowedBy(always: string | undefined, judgements: readonly ExplainedJudgement[]): Explained | undefined {
  if (judgements.some(({ outcome }) => outcome === "denied")) return undefined;
  const asked = judgements.filter(({ outcome }) => outcome !== "not judged");
  const last = asked.at(-1);
  return {
    ...(last === undefined ? {} : judgementOf(last)),
    objects: asked.flatMap(({ objects }) => objects),
    rules: asked.flatMap(({ rule }) => rule ?? []),
    reason: always ?? (last === undefined ? "nothing judges it" : asked.map(({ says }) => says).join("; ")),
    times: 1,
  };
}

/** What the record of a packet or a connection is made of. */
export function flowOf(told: LoggedPacket | Exclude<ConnectionEvent, { what: "lost" }>): Flow {
  if (told.what === "packet") return { outcome: told.outcome, packet: packetOf(told.head), ...sourceOf(told.head) };
  const { connection } = told;
  return { outcome: told.what, packet: firstPacket(connection), ...sourceOf(connection.original) };
}

const sourceOf = ({ sourcePort }: { sourcePort?: number }): { sourcePort?: number } =>
  sourcePort === undefined ? {} : { sourcePort };

function packetOf({ source, destination, protocol, destinationPort, icmp }: PacketHead): Packet {
  return {
    source,
    destination,
    protocol,
    ...(destinationPort === undefined ? {} : { destinationPort }),
    ...(icmp === undefined ? {} : { icmp }),
  };
}

/** The parts of a record that are the packet's own. */
export function trafficOf({ packet, sourcePort }: Flow): Pick<FlowRecord, "protocol" | "port" | "sourcePort" | "icmp"> {
  const { protocol, destinationPort, icmp } = packet;
  return {
    protocol: protocolText(protocol),
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(destinationPort === undefined ? {} : { port: destinationPort }),
    ...(icmp === undefined ? {} : { icmp: { type: icmp.type, code: icmp.code } }),
  };
}

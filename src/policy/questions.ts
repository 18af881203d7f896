// Which of the four judgements a packet must pass, and why the others are not asked.

import type { Ip } from "../net/ip.ts";
import { metadataJudgement } from "./metadata.ts";
import type { Direction, Layer, LayerKind, Model, Packet, Subject } from "./model.ts";
import { protocols } from "./port.ts";

/** One of the four judgements, as it stands for one packet. */
export type Question = {
  direction: Direction;
  kind: LayerKind;
  /** The pod whose layer it is; absent where that end of the packet is no pod that is known here. */
  subject?: Subject;
} & ({ layer: Layer } | { free: Free });

/** Why a judgement is not asked. */
export type Free = "no subject" | "no layer" | "own node" | "metadata open" | "no credentials";

/** Why a packet passes whatever layers say. */
export type Always = "no subjects" | "itself" | "from own node" | "neighbour discovery";

export interface Questions {
  /** The four, in the order in which they are asked, after that on metadata where the packet is for its address; or why none is. */
  of(packet: Packet): readonly Question[] | Always;
  subjectAt(address: Ip): Subject | undefined;
}

/** Router and neighbour solicitations and advertisements (RFC 4861); a redirect is judged as any message. */
const discoveryTypes = { first: 133, last: 136 };

/** Indexes the subjects and nodes of `model` by their addresses. */
export function createQuestions(model: Model): Questions {
  const subjects = new Map<Ip, Subject>();
  for (const subject of model.subjects) for (const address of subject.pod.addresses) subjects.set(address, subject);
  const nodes = new Map([...model.nodes].map(([name, addresses]) => [name, new Set(addresses)]));
  const isNodeOf = (address: Ip, { pod }: Subject): boolean => nodes.get(pod.node)?.has(address) === true;

  const of = (packet: Packet): readonly Question[] | Always => {
    if (isDiscovery(packet)) return "neighbour discovery";
    const source = subjects.get(packet.source);
    const target = subjects.get(packet.destination);
    if (source === undefined && target === undefined) return "no subjects";
    if (source === target && source?.isUnguarded !== true) return "itself";
    if (target !== undefined && isNodeOf(packet.source, target)) return "from own node";
    const toNode = source !== undefined && isNodeOf(packet.destination, source);
    return [
      ...(source === undefined || toNode ? [] : onMetadata(source, packet, model)),
      question("egress", "networkPolicy", source, toNode),
      question("egress", "groups", source, toNode && !model.groupsJudgeOwnNode),
      question("ingress", "networkPolicy", target, false),
      question("ingress", "groups", target, false),
    ];
  };
  return { of, subjectAt: (address) => subjects.get(address) };
}

function onMetadata(subject: Subject, packet: Packet, model: Model): Question[] {
  const judgement = metadataJudgement(packet, model);
  return judgement === undefined ? [] : [{ direction: "egress", kind: "metadata", subject, ...judgement }];
}

function question(direction: Direction, kind: LayerKind, subject: Subject | undefined, excused: boolean): Question {
  if (subject === undefined) return { direction, kind, free: "no subject" };
  const layer = subject[direction].find((layer) => layer.kind === kind);
  if (layer === undefined) return { direction, kind, subject, free: "no layer" };
  return excused ? { direction, kind, subject, free: "own node" } : { direction, kind, subject, layer };
}

function isDiscovery({ protocol, icmp }: Packet): boolean {
  return (
    protocol === protocols.icmpv6 &&
    icmp !== undefined &&
    icmp.type >= discoveryTypes.first &&
    icmp.type <= discoveryTypes.last
  );
}

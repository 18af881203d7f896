// The verdict on a packet: the model's word, which the kernel's rules are held against.

import { type Explanation, explainPacket } from "./explain.ts";
import type { Direction, Layer, LayerKind, Model, Packet } from "./model.ts";
import type { Definitions } from "./packet-text.ts";
import { type Question, createQuestions } from "./questions.ts";
import { type Other, createRuleMatcher, otherOf } from "./rule-match.ts";

/** Names one of the four judgements, and the layer that decided it. */
export interface Judgement {
  direction: Direction;
  kind: LayerKind;
  /** `Layer.id`. */
  layer: string;
}

export interface Verdict {
  passes: boolean;
  /** The first judgement that denied it. */
  deniedBy?: Judgement;
  /** Judgements in which no rule allowed it and which are on probation, up to the one that denied it. */
  audited: readonly Judgement[];
}

export interface Judge {
  verdict(packet: Packet): Verdict;
  explain(packet: Packet): Explanation;
}

const passed: Verdict = { passes: true, audited: [] };

/**
 * Makes `model` ready for many packets. It keeps what it is given: for a changed model, make another. `definitions` say to people what
 * memberships stand for, `groups` which groups there are.
 */
export function createJudge(model: Model & { definitions?: Definitions; groups?: ReadonlySet<string> }): Judge {
  const { definitions = new Map(), groups } = model;
  const questions = createQuestions(model);
  const matcher = createRuleMatcher(model.memberships);
  const allowing = (layer: Layer, packet: Packet, other: Other): boolean =>
    layer.rules.some((rule) => matcher.allows(rule, packet, other));

  const verdict = (packet: Packet): Verdict => {
    const asked = questions.of(packet);
    if (typeof asked === "string") return passed;
    const others = { egress: otherOf(packet.destination), ingress: otherOf(packet.source) };
    const audited: Judgement[] = [];
    for (const question of asked) {
      if (!("layer" in question) || allowing(question.layer, packet, others[question.direction])) continue;
      const judgement = judgementOf(question, question.layer);
      if (question.layer.otherwise === "deny") return { passes: false, deniedBy: judgement, audited };
      audited.push(judgement);
    }
    return audited.length === 0 ? passed : { passes: true, audited };
  };
  return {
    verdict,
    explain: (packet) => explainPacket(packet, { questions, matcher, definitions, ...(groups && { groups }) }),
  };
}

function judgementOf({ direction, kind }: Question, { id }: Layer): Judgement {
  return { direction, kind, layer: id };
}

/**
 * The flows that passed before and no longer do, to be cut. A flow is its first packet: what replies pass with is decided by it, so
 * flows in both directions are told as they began.
 */
export function narrowed<F extends Packet>(before: Judge, after: Judge, flows: Iterable<F>): F[] {
  const cut: F[] = [];
  for (const flow of flows) if (!after.verdict(flow).passes && before.verdict(flow).passes) cut.push(flow);
  return cut;
}

// Why a packet passes or does not: the four judgements in words, what nearly allowed it, and what would have to change.

import { breakGlassText } from "./break-glass.ts";
import { peerCure, refusedCure, refusedOf } from "./group-cures.ts";
import { credentialsPort, metadataKey } from "./metadata.ts";
import { missingNameMiss } from "./missing-names.ts";
import type { Direction, Layer, LayerKind, Packet, Rule, Subject } from "./model.ts";
import {
  type Definitions,
  endText,
  exceptionText,
  peersText,
  podTitle,
  portsText,
  trafficText,
} from "./packet-text.ts";
import type { Always, Free, Question, Questions } from "./questions.ts";
import { type RuleMatcher, otherOf } from "./rule-match.ts";

/** Rules that are named because they nearly allowed the packet, for each half that was missed. */
const nearMissesMax = 5;

export interface Explanation {
  /** Why it passes whatever is said; then nothing was judged. */
  always?: string;
  /** The four, in the order in which they are asked; each is looked at, though the first denial decides. */
  judgements: readonly ExplainedJudgement[];
}

export interface ExplainedJudgement {
  direction: Direction;
  kind: LayerKind;
  outcome: "allowed" | "denied" | "audited" | "not judged";
  /** Whose judgement it is: "shop/web". */
  pod?: string;
  /** `Layer.id`. */
  layer?: string;
  /** Where it is allowed, the object whose rule does; else all of the layer. */
  objects: readonly string[];
  /** The rule that allows it, `Rule.from`. */
  rule?: string;
  /** One sentence. */
  says: string;
  /** Rules of which one half is right. */
  near: readonly NearMiss[];
  /** Each is enough for this judgement. */
  cures: readonly string[];
}

export interface NearMiss {
  /** `Rule.from`. */
  rule: string;
  /** The half that is wrong. */
  missed: "port" | "peer";
  says: string;
}

export interface ExplainParts {
  questions: Questions;
  matcher: RuleMatcher;
  definitions: Definitions;
  /** Names of the groups that there are; absent: it is not known. */
  groups?: ReadonlySet<string>;
}

/** Explains the verdict on `packet`, by the same questions and the same matcher. */
export function explainPacket(packet: Packet, parts: ExplainParts): Explanation {
  const asked = parts.questions.of(packet);
  if (typeof asked === "string") return { always: alwaysTexts[asked], judgements: [] };
  return { judgements: asked.map((question) => explained(question, packet, parts)) };
}

const alwaysTexts: Readonly<Record<Always, string>> = {
  "no subjects": "neither end is a pod that is judged here",
  itself: "a pod always reaches itself",
  "from own node": "a node's own traffic always reaches its pods",
  "neighbour discovery": "neighbour discovery is never denied",
};

function explained(question: Question, packet: Packet, parts: ExplainParts): ExplainedJudgement {
  const { direction, kind, subject } = question;
  const base = { direction, kind, ...(subject === undefined ? {} : { pod: podTitle(subject) }) };
  if ("free" in question) {
    const says = freeText(question, question.free, packet);
    return { ...base, outcome: "not judged", objects: [], says, near: [], cures: [] };
  }
  const { layer } = question;
  const other = otherOf(direction === "egress" ? packet.destination : packet.source);
  const rule = layer.rules.find((rule) => parts.matcher.allows(rule, packet, other));
  if (rule !== undefined) {
    const says = `${rule.from} allows ${portsText(rule)} ${towards(direction)} ${peersText(rule, parts.definitions)}`;
    return {
      ...base,
      outcome: "allowed",
      layer: layer.id,
      objects: objectsOf(rule, layer),
      rule: rule.from,
      says,
      near: [],
      cures: [],
    };
  }
  if (kind === "metadata") return { ...base, outcome: "denied", layer: layer.id, ...closedMetadata(layer, packet) };
  const near = nearMisses(layer, packet, subject, parts);
  const outcome = layer.otherwise === "deny" ? "denied" : "audited";
  return {
    ...base,
    outcome,
    layer: layer.id,
    objects: layer.objects,
    says: `no rule allows ${wanted(layer, packet, parts)}${outcome === "audited" ? `; it passes ${byWhat(subject)}` : ""}`,
    near: near.map(({ miss }) => miss),
    cures: [...near.map(({ cure }) => cure), ...layerCures(layer, packet, subject, parts)],
  };
}

/** A rule more in what the pod has, and of groups that it does not get what gets it them: a rule there helps nobody. */
function layerCures(layer: Layer, packet: Packet, subject: Subject | undefined, parts: ExplainParts): string[] {
  const says = wanted(layer, packet, parts);
  const other = otherOf(layer.direction === "egress" ? packet.destination : packet.source);
  const allows = (rule: Rule): boolean => parts.matcher.allows(rule, packet, other);
  const refused = refusedOf(layer, subject);
  const had = layer.objects.filter((title) => !refused.some(({ object }) => object === title));
  return [
    ...refused.flatMap((hint) =>
      subject === undefined ? [] : [refusedCure(hint, { layer, subject, wanted: says, allows })],
    ),
    ...(had.length === 0 ? [] : [`add a rule to ${oneOf(had)} that allows ${says}`]),
  ];
}

function closedMetadata(
  { objects }: Layer,
  packet: Packet,
): Pick<ExplainedJudgement, "objects" | "says" | "near" | "cures"> {
  const says = `${metadataKey} of the agents is closed: pods do not get the credentials that ${packet.destination} gives`;
  return { objects, says, near: [], cures: [`set ${metadataKey} to open in the agents' configuration, for all pods`] };
}

function byWhat(subject: Subject | undefined): string {
  return subject?.breakGlass === undefined ? "on probation" : `by ${breakGlassText(subject.breakGlass)}`;
}

/** A rule of none of the layer's objects is one of the agent's own keys. */
const objectsOf = ({ from }: Rule, { objects }: Layer): string[] => {
  const own = objects.filter((title) => from.startsWith(`${title} `));
  return own.length === 0 ? [from] : own;
};

const oneOf = (objects: readonly string[]): string => `${objects.length === 1 ? "" : "one of "}${objects.join(", ")}`;

const towards = (direction: Direction): "to" | "from" => (direction === "egress" ? "to" : "from");

function freeText({ direction, kind, subject }: Question, free: Free, packet: Packet): string {
  if (free === "own node") return "its own node, which is not judged";
  if (free === "metadata open") return `${metadataKey} of the agents is open`;
  if (free === "no credentials") return `${metadataKey} of the agents closes tcp ${credentialsPort} alone`;
  if (free === "no subject" || subject === undefined) {
    return `${direction === "egress" ? packet.source : packet.destination} is no pod that is judged here`;
  }
  if (kind === "networkPolicy") return `no NetworkPolicy isolates pod ${podTitle(subject)} for ${direction}`;
  return direction === "egress"
    ? `no security group limits what pod ${podTitle(subject)} sends`
    : `pod ${podTitle(subject)} is bound to no security group`;
}

/** "tcp 80 from pod shop/web (10.4.1.2)". */
function wanted({ direction }: Layer, packet: Packet, { questions }: ExplainParts): string {
  const address = direction === "egress" ? packet.destination : packet.source;
  return `${trafficText(packet)} ${towards(direction)} ${endText(address, questions.subjectAt(address))}`;
}

interface Near {
  miss: NearMiss;
  cure: string;
}

/** Rules that are right about one half: those that know the peer first, since a port is the smaller change. */
function nearMisses(layer: Layer, packet: Packet, own: Subject | undefined, parts: ExplainParts): Near[] {
  const { matcher, definitions, questions } = parts;
  const address = layer.direction === "egress" ? packet.destination : packet.source;
  const other = otherOf(address);
  const subject = questions.subjectAt(address);
  const who = endText(address, subject);
  const traffic = trafficText(packet);
  const ofPort: Near[] = [];
  const ofPeer: Near[] = [];
  const nameless = namelessMisses(layer, packet, layer.direction === "egress" ? subject : own, parts);
  const told = new Set(nameless.map(({ miss }) => miss.rule));
  for (const rule of layer.rules) {
    const { port, peer } = matcher.halves(rule, packet, other);
    if (peer && !port && !told.has(rule.from) && ofPort.length < nearMissesMax) {
      const says = `${rule.from} knows ${who}, and allows it ${portsText(rule)}, not ${traffic}`;
      ofPort.push({ miss: { rule: rule.from, missed: "port", says }, cure: `add ${traffic} to ${rule.from}` });
    }
    if (port && !peer && ofPeer.length < nearMissesMax) {
      const cut = exceptionText(rule, address);
      const known = peersText(rule, definitions);
      const says = `${rule.from} allows ${traffic} ${towards(layer.direction)} ${known}, and ${cut ?? `${who} is none of them`}`;
      ofPeer.push({
        miss: { rule: rule.from, missed: "peer", says },
        cure:
          cut === undefined ? peerCure(rule, address, { ...parts, subject }) : `take that except out of ${rule.from}`,
      });
    }
  }
  return [...nameless, ...ofPort, ...ofPeer];
}

/** Rules that know the peer and name a port which the called pod has not got: on ingress the layer is without these names. */
function namelessMisses(layer: Layer, packet: Packet, called: Subject | undefined, parts: ExplainParts): Near[] {
  if (layer.kind !== "networkPolicy") return [];
  const address = layer.direction === "egress" ? packet.destination : packet.source;
  const who = endText(address, parts.questions.subjectAt(address));
  const rules = layer.direction === "egress" ? layer.rules : (called?.hints?.unnamed ?? []);
  const other = otherOf(address);
  return rules
    .flatMap((rule): Near[] => {
      const missed = missingNameMiss(rule, packet, called);
      if (missed === undefined || !parts.matcher.halves(rule, packet, other).peer) return [];
      const says = `${rule.from} knows ${who}, but ${missed.says}`;
      return [{ miss: { rule: rule.from, missed: "port", says }, cure: missed.cure }];
    })
    .slice(0, nearMissesMax);
}

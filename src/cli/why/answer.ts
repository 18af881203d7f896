// Answers to "may A talk to B": places and traffic to packets, packets to judgements, as data. Pure.

import { type Ip, ipFamily } from "../../net/ip.ts";
import { clusterModel, type ModelOptions } from "../../policy/build-model.ts";
import { annotatedNodes } from "../../policy/break-glass.ts";
import type { ExplainedJudgement } from "../../policy/explain.ts";
import { createJudge, type Judge } from "../../policy/judge.ts";
import type { NamedPort, PolicyPod } from "../../policy/model.ts";
import { guardProblems, isUnguarded, perPodNamespaces, sourceGuardAnnotation } from "../../policy/source-guard.ts";
import { protocolText } from "../../policy/port.ts";
import type { Problem } from "../../policy/problem.ts";
import { type ClusterView, podKey, viewCluster } from "../cluster/view.ts";
import type { Place } from "../route/place.ts";
import { commonFamilies } from "../route/way.ts";
import { addressesOfNodes, type Deciding, policyPods } from "./objects.ts";
import { packetOf, type Traffic } from "./traffic.ts";

/** One line of the JSON, for one family; it only ever gains keys. */
export interface WhyAnswer {
  from: string;
  to: string;
  /** The addresses that were judged. */
  source: string;
  destination: string;
  protocol: string;
  /** Absent for icmp. */
  port?: number;
  family: 4 | 6;
  passes: boolean;
  /** What a reader should know of the ends beside the judgements. */
  notes?: string[];
  /** Why it passes whatever anybody says; there are no judgements then. */
  always?: string;
  /** The four, in the order in which they are asked, after that on metadata where the traffic is for its address. */
  judgements: WhyJudgement[];
  /** The question's line, where it stands in a file. */
  line?: number;
  /** What was expected, where anything was, and whether it is so. */
  expected?: "allow" | "deny";
  asExpected?: boolean;
}

export interface WhyJudgement {
  judgement: "egress metadata" | "egress NetworkPolicy" | "egress groups" | "ingress NetworkPolicy" | "ingress groups";
  passes: boolean;
  /** What decides: "NetworkPolicy shop/web"; several by commas, where none of them allows it. */
  object?: string;
  /** The rule that allows it. */
  rule?: string;
  outcome: ExplainedJudgement["outcome"];
  /** Whose judgement it is, and where. */
  pod?: string;
  node?: string;
  says: string;
  /** Rules that nearly allow it, and what would have to change; each is enough for this judgement. */
  near: string[];
  cures: string[];
}

export interface Answers {
  view: ClusterView;
  /** Objects that do not count in full, and why. */
  problems: readonly Problem[];
  portsOf(place: Place): readonly NamedPort[];
  /** One answer for each family that both have. */
  why(from: Place, to: Place, traffic: Traffic): WhyAnswer[];
}

/** Makes the objects ready for many questions. */
export function createAnswers({ cluster, policy, problems = [] }: Deciding, options: ModelOptions = {}): Answers {
  const view = viewCluster(cluster);
  const nodeBreakGlass = annotatedNodes(view.nodes);
  const pods = policyPods(view);
  const model = clusterModel(policy, pods, addressesOfNodes(view), { nodeBreakGlass, ...options });
  const judge = createJudge(model);
  const byKey = new Map(pods.map((pod) => [podKey(pod.namespace, pod.name), pod]));
  const perPod = perPodNamespaces(policy.namespaces, []);
  const notesOf = (place: Place): string[] => {
    const pod = place.kind === "pod" ? byKey.get(place.key) : undefined;
    return pod === undefined ? [] : guardNotes(pod, perPod);
  };
  const nodeOf = (key: string): string | undefined => byKey.get(key)?.node;
  return {
    view,
    problems: [...model.problems, ...problems],
    portsOf: (place) => (place.kind === "pod" ? (byKey.get(place.key)?.ports ?? []) : []),
    why: (from, to, traffic) =>
      commonFamilies(from, to).map(([source, destination]) =>
        withNotes(
          answer({ from: titleOf(from), to: titleOf(to), source, destination, traffic }, judge, nodeOf),
          notesOf(from),
        ),
      ),
  };
}

const titleOf = (place: Place): string =>
  place.kind === "pod" ? place.key : place.kind === "node" ? place.node : place.addresses.join(" ");

/** The node of a pod, by "namespace/name". */
type NodeOf = (key: string) => string | undefined;

/** Of who sends: the answer is about its own addresses alone. */
function guardNotes(pod: PolicyPod, perPod: ReadonlySet<string>): string[] {
  if (!isUnguarded(pod, perPod))
    return guardProblems(pod, perPod).map(({ object, message }) => `${object}: ${message}`);
  const title = `${pod.namespace}/${pod.name}`;
  return [
    `the source guard of pod ${title} is off (${sourceGuardAnnotation}): it may send from any address; this answer is about its own`,
  ];
}

const withNotes = (answered: WhyAnswer, notes: string[]): WhyAnswer =>
  notes.length === 0 ? answered : { ...answered, notes };

interface Asked {
  from: string;
  to: string;
  source: Ip;
  destination: Ip;
  traffic: Traffic;
}

function answer(asked: Asked, judge: Judge, nodeOf: NodeOf): WhyAnswer {
  const { from, to, source, destination, traffic } = asked;
  const packet = packetOf(source, destination, traffic);
  const { always, judgements } = judge.explain(packet);
  return {
    from,
    to,
    source,
    destination,
    protocol: protocolText(packet.protocol),
    ...(traffic === "icmp" ? {} : { port: traffic.port }),
    family: ipFamily(source),
    passes: judge.verdict(packet).passes,
    ...(always === undefined ? {} : { always }),
    judgements: judgements.map((one) => judgementOf(one, nodeOf)),
  };
}

function judgementOf(explained: ExplainedJudgement, nodeOf: NodeOf): WhyJudgement {
  const { direction, kind, outcome, pod, objects, rule, says, near, cures } = explained;
  const node = pod === undefined ? undefined : nodeOf(pod);
  return {
    judgement:
      kind === "metadata" ? "egress metadata" : `${direction} ${kind === "groups" ? "groups" : "NetworkPolicy"}`,
    passes: outcome !== "denied",
    ...(objects.length === 0 ? {} : { object: objects.join(", ") }),
    ...(rule === undefined ? {} : { rule }),
    outcome,
    ...(pod === undefined ? {} : { pod }),
    ...(node === undefined || node === "" ? {} : { node }),
    says,
    near: near.map((one) => one.says),
    cures: [...cures],
  };
}

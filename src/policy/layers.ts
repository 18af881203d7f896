// What is said about one pod, as layers of allow rules: what NetworkPolicies say, and what its security groups do.

import { groupsOf, type RefusedGroup } from "./groups-of.ts";
import { namespaceNameLabel } from "./membership.ts";
import { missingNames } from "./missing-names.ts";
import type { Direction, Layer, NamedPort, PolicyPod, PortMatch, RefusedHint, Rule, SubjectHints } from "./model.ts";
import { protocolText } from "./port.ts";
import { type Problem, objectTitle } from "./problem.ts";
import type { ReadObjects } from "./read-objects.ts";
import type { ReadRules } from "./read-rules.ts";
import { order, selects } from "./selector.ts";

export interface PodLayers {
  /** NetworkPolicy first. */
  egress: readonly Layer[];
  ingress: readonly Layer[];
  /** Groups that an object binds the pod to and that it does not get. */
  problems: readonly Problem[];
  hints: SubjectHints;
}

/** What of a pod decides its layers. */
export type JudgedPod = Pick<PolicyPod, "namespace" | "labels" | "serviceAccount" | "ports">;

/**
 * The layers of a pod. None of NetworkPolicy where no policy isolates it in that direction; none of groups where no object binds it,
 * and none for egress where one of its groups leaves egress open, since groups only add.
 */
export function layersOf(pod: JudgedPod, objects: ReadObjects): PodLayers {
  const policies = (objects.networkPolicies.get(pod.namespace) ?? []).filter(({ pods }) => selects(pods, pod.labels));
  const groups = groupLayers(pod, objects);
  const layers = (direction: Direction): Layer[] =>
    [policyLayer(policies, direction, pod.ports), groups[direction]].filter((layer) => layer !== undefined);
  const { problems, refused } = groups;
  return {
    egress: layers("egress"),
    ingress: layers("ingress"),
    problems,
    hints: { refused, ports: pod.ports, unnamed: unnamedRules(policies, pod.ports) },
  };
}

/**
 * The layers of a pod of which nothing is known but its namespace: whatever could be about it closes it, until more is known. None where
 * nothing in the namespace isolates anybody.
 */
export function layersOfUnknown(namespace: string, objects: ReadObjects): PodLayers {
  const policies = objects.networkPolicies.get(namespace) ?? [];
  const bindings = objects.bindings.get(namespace) ?? [];
  const closed = (kind: Layer["kind"], direction: Direction, about: readonly { title: string }[]): Layer[] =>
    about.length === 0
      ? []
      : [
          {
            kind,
            direction,
            id: `${direction} of a pod that is not known, closed by ${about.map(({ title }) => title).join(", ")}`,
            objects: about.map(({ title }) => title),
            otherwise: "deny",
            rules: [],
          },
        ];
  const layers = (direction: Direction): Layer[] => [
    ...closed(
      "networkPolicy",
      direction,
      policies.filter((policy) => policy[direction] !== undefined),
    ),
    ...closed("groups", direction, bindings),
  ];
  return {
    egress: layers("egress"),
    ingress: layers("ingress"),
    problems: [],
    hints: { refused: [], ports: [], unnamed: [] },
  };
}

function policyLayer(
  policies: readonly ReadRules[],
  direction: Direction,
  podPorts: readonly NamedPort[],
): Layer | undefined {
  const isolating = policies.filter((policy) => policy[direction] !== undefined);
  if (isolating.length === 0) return undefined;
  const objects = isolating.map(({ title }) => title);
  const rules = isolating.flatMap((policy) => policy[direction] ?? []);
  const numbered = direction === "ingress" ? withNumbers(rules, podPorts) : { rules, numbers: "" };
  return {
    kind: "networkPolicy",
    direction,
    id: `${direction} of ${objects.join(", ")}${numbered.numbers}`,
    objects,
    otherwise: otherwise(isolating, true),
    rules: numbered.rules,
  };
}

/**
 * Audits only where everything in the layer is on probation: an object that is enforced isolates the pod by itself, and one on
 * probation beside it must not open it. Rules of those on probation count all the same: objects only add, so the layer is what it
 * will be when probation ends, and what it logs is what will then be denied.
 */
function otherwise(objects: readonly ReadRules[], complete: boolean): Layer["otherwise"] {
  return complete && objects.every(({ audit }) => audit) ? "audit" : "deny";
}

/** Ingress names ports of the pod itself. One that it has not got matches nothing; a name that several containers use is each of their numbers. */
function withNumbers(rules: readonly Rule[], podPorts: readonly NamedPort[]): { rules: Rule[]; numbers: string } {
  const resolved = new Map<string, string>();
  const numbersOf = (match: PortMatch): readonly PortMatch[] => {
    if (!("peerPort" in match)) return [match];
    const { protocol, peerPort } = match;
    const found = podPorts.filter((port) => port.name === peerPort && port.protocol === protocol);
    const numbers = [...new Set(found.map(({ port }) => port))].sort((a, b) => a - b);
    resolved.set(`${peerPort}/${protocolText(protocol)}`, numbers.length === 0 ? "none" : numbers.join("+"));
    return numbers.map((port) => ({ protocol, first: port, last: port }));
  };
  const numbered = rules.flatMap((rule) => {
    const ports = rule.ports.flatMap(numbersOf);
    // A list without ports would match all of them.
    return rule.ports.length > 0 && ports.length === 0 ? [] : [{ ...rule, ports }];
  });
  const said = [...resolved].sort(([a], [b]) => order(a, b)).map(([name, numbers]) => `${name}=${numbers}`);
  return { rules: numbered, numbers: said.length === 0 ? "" : ` with ${said.join(", ")}` };
}

/** Of the policies of a pod, rules of ingress that name a port which it has not got. */
function unnamedRules(policies: readonly ReadRules[], podPorts: readonly NamedPort[]): Rule[] {
  return policies.flatMap(({ ingress = [] }) => ingress.filter((rule) => missingNames(rule, podPorts).length > 0));
}

interface GroupLayers {
  egress: Layer | undefined;
  ingress: Layer | undefined;
  problems: readonly Problem[];
  refused: readonly RefusedHint[];
}

function groupLayers(pod: JudgedPod, read: ReadObjects): GroupLayers {
  const { bound, groups, refused } = groupsOf(pod, read);
  if (!bound) return { egress: undefined, ingress: undefined, problems: [], refused: [] };
  const hints = refused.map(hintOf);
  const objects = [...groups.map(({ title }) => title), ...hints.map(({ object }) => object)].sort(order);
  const layer = (direction: Direction): Layer => ({
    kind: "groups",
    direction,
    id: `${direction} of ${objects.join(", ")}`,
    objects,
    // What a refused group would say is not known: it denies.
    otherwise: otherwise(groups, refused.length === 0),
    rules: [...groups.flatMap((group) => group[direction] ?? []), ...(direction === "egress" ? read.alwaysEgress : [])],
  });
  return {
    egress: groups.some(({ egress }) => egress === undefined) ? undefined : layer("egress"),
    ingress: layer("ingress"),
    problems: refused.map(({ problem }) => problem),
    refused: hints,
  };
}

function hintOf({ name, why, group }: RefusedGroup): RefusedHint {
  const title = objectTitle("SecurityGroup", { name });
  // One that comes to be changes no name. The others depend on the pod, whose layer must then have a name of its own.
  const object = why === "unknown" ? title : `${title} (${why})`;
  if (group === undefined) return { name, why, object };
  const { ingress, egress, bindableFrom } = group;
  const byName = bindableFrom.some(({ key }) => key === namespaceNameLabel);
  return { name, why, object, byName, rules: { ingress, ...(egress === undefined ? {} : { egress }) } };
}

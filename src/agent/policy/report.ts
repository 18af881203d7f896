// What policy does on this node, for those who look: by whose word, which classes there are, and what of the objects does not count.

import type { Compiler } from "../../policy/compile.ts";
import type { Layer, Memberships, Peer, Rule } from "../../policy/model.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import type { Problem } from "../../policy/problem.ts";
import { breakGlassAnnotation } from "../../policy/break-glass.ts";
import type { Finding } from "../finding.ts";
import { type BrokenReport, brokenReports, type Glass } from "./glass.ts";
import type { Judged } from "./subjects.ts";

/** Classes, problems and layers in one report; the rest is counted. */
const listedMax = 64;

export interface PolicyReport {
  /** Whose word judges: what the cluster says, what an earlier agent kept of it, or nobody's yet. */
  by: "cluster" | "kept" | "nobody";
  classes: ClassReport[];
  /** Attachments that were read back from their links, and of which it is not known whose they are. */
  nameless: number;
  /** Layers for which the kernel has no room: their rules, or some of them, allow nothing. */
  cut: { layer: string; leftOut: number }[];
  /** Where policy denies pods of this node nothing, and until when. */
  breakGlass: BrokenReport[];
  /** What of the objects does not count, and why. */
  problems: Problem[];
  /** Entries of each list that are not told. */
  more: number;
}

export interface ClassReport {
  number: number;
  pods: number;
  layers: { direction: string; kind: string; objects: readonly string[]; otherwise: string }[];
}

export interface ReportParts {
  by: PolicyReport["by"];
  nameless: number;
  judged: readonly Judged[];
  /** By attachment. */
  groups: ReadonlyMap<string, number>;
  objects: Pick<ReadObjects, "problems" | "alwaysEgress"> | undefined;
  memberships: Memberships;
  glass: Pick<Glass, "problems">;
  factsOf: Compiler["factsOf"];
}

export function policyReport({
  by,
  nameless,
  judged,
  groups,
  objects,
  memberships,
  factsOf,
  glass,
}: ReportParts): PolicyReport {
  const problems = [
    ...(objects?.problems ?? []),
    ...glass.problems(),
    ...(objects?.alwaysEgress ?? []).flatMap((rule) => unheardOf(rule, memberships)),
    ...judged.flatMap((one) => one.problems),
  ];
  const byClass = Map.groupBy(judged, ({ key }) => groups.get(key) ?? 0);
  const classes = [...byClass]
    .toSorted(([a], [b]) => a - b)
    .map(([number, pods]): ClassReport => ({ number, pods: pods.length, layers: layersOf(pods[0]).map(layerReport) }));
  const layers = new Set(judged.flatMap(layersOf));
  const cut = [...layers].flatMap((layer) => {
    const { leftOut } = factsOf(layer);
    return leftOut === 0 ? [] : [{ layer: layer.id, leftOut }];
  });
  const lists = { classes, cut, problems, breakGlass: brokenReports(judged) };
  return {
    by,
    nameless,
    classes: lists.classes.slice(0, listedMax),
    cut: lists.cut.slice(0, listedMax),
    problems: lists.problems.slice(0, listedMax),
    breakGlass: lists.breakGlass.slice(0, listedMax),
    more: Object.values(lists).reduce((sum, { length }) => sum + Math.max(0, length - listedMax), 0),
  };
}

/** A key that opens nothing, since nobody is known to whom it would. */
function unheardOf({ from, peers }: Rule, memberships: Memberships): Problem[] {
  const isSomebody = (peer: Peer): boolean =>
    "block" in peer || (memberships.get(peer.members) ?? []).some((part) => part.length > 0);
  if (peers.some(isSomebody)) return [];
  const message =
    "no pod that it names is known, so it allows nothing; does the controller's configuration have it, too?";
  return [{ object: "agent", path: from, message }];
}

const layersOf = (judged: Judged | undefined): Layer[] => [...(judged?.egress ?? []), ...(judged?.ingress ?? [])];

const layerReport = ({ direction, kind, objects, otherwise }: Layer): ClassReport["layers"][number] => ({
  direction,
  kind,
  objects,
  otherwise,
});

/** What an operator should know of it. */
export function policyFindings(report: PolicyReport): Finding[] {
  const { by, nameless, classes, cut, problems, breakGlass, more } = report;
  const name = "policy";
  const findings: Finding[] = [
    ...(by === "cluster" ? [] : [notTold(by)]),
    ...(nameless === 0 ? [] : [notKnownAgain(nameless)]),
    ...breakGlass.map(({ object, until, pods }): Finding => ({
      name: "break-glass",
      state: "bad",
      says: `policy denies ${pods} pods nothing: break-glass of ${object} until ${until}`,
      cure: `kubectl annotate ${object.toLowerCase()} ${breakGlassAnnotation}- ends it now`,
    })),
    ...cut.map(({ layer, leftOut }): Finding => ({
      name,
      state: "bad",
      says: `${layer}: the kernel has no room for ${leftOut} of its ports, ranges and messages, which allow nothing`,
      cure: "write fewer or wider ports, or put pods with other policies on other nodes",
    })),
    ...problems.map(({ object, path, message }): Finding => ({
      name,
      state: "warn",
      says: `${object}: ${path}: ${message}`,
      cure: "mend the object; the rest of it, and all others, count as they are",
    })),
    ...(more === 0 ? [] : [{ name, state: "warn", says: `${more} more of these are not listed` } as const]),
  ];
  if (findings.length > 0) return findings;
  const podsOf = (some: readonly ClassReport[]): number => some.reduce((sum, { pods }) => sum + pods, 0);
  const judged = podsOf(classes.filter(({ layers }) => layers.length > 0));
  return [{ name, state: "ok", says: `judges ${judged} of ${podsOf(classes)} pods` }];
}

function notKnownAgain(pods: number): Finding {
  return {
    name: "policy",
    state: "warn",
    says: `${pods} pods were read back from their links after the state file was lost, and nobody has said yet which they are: those that were judged are closed, the others stay as they were`,
    cure: "see that the API server answers; a pod that it does not have on this node has to be deleted",
  };
}

function notTold(by: "kept" | "nobody"): Finding {
  const cure = "see that the API server answers, and that this agent may list what `cluster` names";
  if (by === "kept")
    return {
      name: "policy",
      state: "warn",
      says: "the cluster has not told yet who may talk to whom; pods are judged by what an earlier agent kept",
      cure,
    };
  return {
    name: "policy",
    state: "bad",
    says: "the cluster has not told yet who may talk to whom: new pods wait, and the kernel judges as it was left",
    cure,
  };
}

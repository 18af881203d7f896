// Break-glass: for a bounded time policy denies the pods of a namespace, or of a node, nothing, and says so.

import type { BreakGlass, Layer, PolicyPod, Subject } from "./model.ts";
import { objectTitle, type Problem, type Report, reporter } from "./problem.ts";

/** On a Namespace or a Node: when it begins and when it ends, both RFC 3339, with a "/" between them. */
export const breakGlassAnnotation = "fairlead.dev/break-glass";
/** Longest time between the two. */
export const breakGlassMaxMs = 24 * 3_600_000;

/** What stands of it on a Namespace or a Node; undefined where nothing does. */
export const breakGlassOf = (
  object: { metadata: { annotations?: Readonly<Record<string, string>> } } | undefined,
): string | undefined => object?.metadata.annotations?.[breakGlassAnnotation];

/** What stands of it on nodes, by the names of those that have any. */
export const annotatedNodes = (
  nodes: readonly { metadata: { name: string; annotations?: Readonly<Record<string, string>> } }[],
): Map<string, string> =>
  new Map(
    nodes.flatMap((node) => {
      const text = breakGlassOf(node);
      return text === undefined ? [] : [[node.metadata.name, text] as const];
    }),
  );

type Layers = Pick<Subject, "egress" | "ingress">;

const timeForm = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;
const example = "2026-11-27T08:00:00Z/2026-11-27T10:00:00Z";

/**
 * Reads the annotation of an object; undefined where there is none. One that cannot be read, or that is too long, opens nothing and is
 * reported. Both times stand in it, so that every node and every program reads the same out of it whenever it looks: an end that is
 * too far away today never comes near enough by itself.
 */
export function readBreakGlass(title: string, text: string | undefined, report: Report): BreakGlass | undefined {
  if (text === undefined) return undefined;
  const path = `metadata.annotations[${JSON.stringify(breakGlassAnnotation)}]`;
  const refuse = (what: string): undefined => {
    report(path, `${JSON.stringify(text)} ${what}; it opens nothing`);
    return undefined;
  };
  const [from = "", until = "", ...more] = text.split("/");
  const [fromMs, untilMs] = [from, until].map((time) => (timeForm.test(time) ? Date.parse(time) : Number.NaN));
  if (more.length > 0 || fromMs === undefined || untilMs === undefined || Number.isNaN(fromMs) || Number.isNaN(untilMs))
    return refuse(`is no begin and end such as ${example}`);
  if (untilMs <= fromMs) return refuse("ends before it begins");
  const hours = breakGlassMaxMs / 3_600_000;
  if (untilMs - fromMs > breakGlassMaxMs)
    return refuse(`lasts longer than ${hours} hours, the longest that is allowed`);
  return { title, fromMs, untilMs };
}

export function lasts({ fromMs, untilMs }: BreakGlass, nowMs: number): boolean {
  return fromMs <= nowMs && nowMs < untilMs;
}

/** All that there is of it in a cluster. */
export interface BreakGlasses {
  /** What opens a pod; a node's counts where the namespace has none. */
  of: (pod: Pick<PolicyPod, "namespace" | "node">) => BreakGlass | undefined;
  /** Whether they last or not. */
  all: readonly BreakGlass[];
  /** What is wrong with those of nodes. */
  problems: readonly Problem[];
}

/** As it is at `nowMs` (without it none lasts): those of namespaces, and what is annotated on nodes, by their names. */
export function breakGlassAt(
  { breakGlass }: { breakGlass: ReadonlyMap<string, BreakGlass> },
  ofNodes: ReadonlyMap<string, string> = new Map(),
  nowMs: number | undefined,
): BreakGlasses {
  const problems: Problem[] = [];
  const nodes = new Map(
    [...ofNodes].map(([name, text]) => {
      const title = objectTitle("Node", { name });
      return [name, readBreakGlass(title, text, reporter(title, problems))];
    }),
  );
  const lasting = (glass: BreakGlass | undefined): BreakGlass | undefined =>
    glass !== undefined && nowMs !== undefined && lasts(glass, nowMs) ? glass : undefined;
  return {
    of: ({ namespace, node }) => lasting(breakGlass.get(namespace)) ?? lasting(nodes.get(node)),
    all: [...breakGlass.values(), ...nodes.values()].filter((glass) => glass !== undefined),
    problems,
  };
}

/** When the next of them begins or ends; Infinity where none does. */
export function nextEdgeMs(all: Iterable<BreakGlass>, nowMs: number): number {
  let next = Infinity;
  for (const { fromMs, untilMs } of all) {
    for (const edge of [fromMs, untilMs]) if (edge > nowMs) next = Math.min(next, edge);
  }
  return next;
}

/**
 * The layers of a pod while `glass`, if any, lasts: what they would deny is logged and passes. They are other layers then, since pods
 * elsewhere keep those that they were.
 */
export function judgedUnder(glass: BreakGlass | undefined, { egress, ingress }: Layers): Layers {
  if (glass === undefined) return { egress, ingress };
  const broken = (layer: Layer): Layer => ({ ...layer, id: `${layer.id} under break-glass`, otherwise: "audit" });
  return { egress: egress.map(broken), ingress: ingress.map(broken) };
}

/** "break-glass of Namespace shop until 2026-11-27T10:00:00Z". */
export function breakGlassText({ title, untilMs }: BreakGlass): string {
  return `${textBegin(title)}${new Date(untilMs).toISOString().replace(".000Z", "Z")}`;
}

/** Whether a text has the `breakGlassText` of that object in it. */
export const tellsOfBreakGlass = (text: string, title: string): boolean => text.includes(textBegin(title));

const textBegin = (title: string): string => `break-glass of ${title} until `;

// Break-glass on this node: of which namespaces and of the node itself it lasts now, when that changes, and what is told of it.

import { policyOpened, policyOpeningRefused } from "../../kube/objects.ts";
import { breakGlassText, lasts, nextEdgeMs, readBreakGlass } from "../../policy/break-glass.ts";
import type { BreakGlass } from "../../policy/model.ts";
import { objectTitle, type Problem, reporter } from "../../policy/problem.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import type { NodeFault } from "../cluster/peers.ts";
import type { Judged } from "./subjects.ts";

export interface GlassDeps {
  nodeName: string;
  /** What is annotated on the Node, or was when anybody last knew. */
  ofNode: () => string | undefined;
  /** Milliseconds since 1970: what is written has no other clock. */
  now: () => number;
}

export interface Glass {
  /** What a pod of a namespace is under; the same object as long as it lasts. A node's counts where its namespace has none. */
  brokenNow: (namespace: string, objects: Pick<ReadObjects, "breakGlass">) => BreakGlass | undefined;
  /** To be called when a pass has judged by `objects`: from then on the next begin or end of any of them is waited for. */
  noteEdges: (objects: Pick<ReadObjects, "breakGlass">) => void;
  /** Milliseconds until then; 0 where it has come. */
  untilEdgeMs: () => number;
  /** What is wrong with the node's own. */
  problems: () => readonly Problem[];
}

export function createGlass({ nodeName, ofNode, now }: GlassDeps): Glass {
  const title = objectTitle("Node", { name: nodeName });
  let read: { text: string | undefined; glass: BreakGlass | undefined; problems: Problem[] } | undefined;
  let edgeMs = Infinity;
  const own = (): NonNullable<typeof read> => {
    const text = ofNode();
    if (read === undefined || read.text !== text) {
      const problems: Problem[] = [];
      read = { text, glass: readBreakGlass(title, text, reporter(title, problems)), problems };
    }
    return read;
  };
  const lasting = (glass: BreakGlass | undefined): BreakGlass | undefined =>
    glass !== undefined && lasts(glass, now()) ? glass : undefined;
  return {
    brokenNow: (namespace, { breakGlass }) => lasting(breakGlass.get(namespace)) ?? lasting(own().glass),
    noteEdges: ({ breakGlass }) => {
      const { glass } = own();
      edgeMs = nextEdgeMs([...breakGlass.values(), ...(glass === undefined ? [] : [glass])], now());
    },
    untilEdgeMs: () => Math.max(0, edgeMs - now()),
    problems: () => own().problems,
  };
}

/** One break-glass that pods of this node are under, and how many of them. */
export interface BrokenReport {
  /** "Namespace shop". */
  object: string;
  /** RFC 3339. */
  until: string;
  pods: number;
}

/** By the objects that are annotated, sorted. */
export function brokenReports(judged: readonly Pick<Judged, "breakGlass">[]): BrokenReport[] {
  const byGlass = Map.groupBy(judged, ({ breakGlass }) => breakGlass);
  return [...byGlass]
    .flatMap(([glass, pods]) =>
      glass === undefined
        ? []
        : [{ object: glass.title, until: new Date(glass.untilMs).toISOString(), pods: pods.length }],
    )
    .toSorted((a, b) => (a.object < b.object ? -1 : 1));
}

/** What the node's NodeNetwork says of it. Without numbers of pods, so that a pod that comes is no write. */
export function glassFaults(
  judged: readonly Pick<Judged, "breakGlass">[],
  { problems }: Pick<Glass, "problems">,
): NodeFault[] {
  const glasses = new Set(judged.flatMap(({ breakGlass }) => breakGlass ?? []));
  const refused = problems().map(({ object, path, message }) => `${object}: ${path}: ${message}`);
  return [
    ...[...glasses].map((glass) => ({
      code: policyOpened,
      message: `policy denies pods nothing by ${breakGlassText(glass)}`,
    })),
    ...refused.map((message) => ({ code: policyOpeningRefused, message })),
  ].toSorted((a, b) => (a.message < b.message ? -1 : 1));
}

// The flows that a cluster's truth table tries: which there are, what came of each, and what is told where that is not as expected. Pure.

import type { ProbeResult } from "./probing.ts";
import type { Endpoint, Wish } from "./probing.ts";

/** Something that flows begin or end at. */
export interface FlowEnd {
  kind: "pod" | "node" | "outside";
  /** "shop/web", "node node-1", "outside". */
  title: string;
  endpoint: Endpoint;
}

/** A first packet. `port` is 0 for icmp. */
export interface Flow extends Wish {
  fromTitle: string;
  toTitle: string;
  fromAddress: string;
  toAddress: string;
  port: number;
}

/** Whether a flow is to pass, and who says so. */
export interface Expected {
  passes: boolean;
  /** "ingress groups: SecurityGroup db"; "" where nothing denies it. */
  because: string;
}

/** What was expected of each flow when the table was last as expected; by `flowKey`. */
export type FlowTable = ReadonlyMap<string, Expected>;

/** All flows between two ends of which one is a pod: every protocol, each family that both have, the target's own port and `ports`. */
export function planFlows(ends: readonly FlowEnd[], ports: readonly number[]): Flow[] {
  return ends.flatMap((from) =>
    ends
      .filter((to) => to !== from && (from.kind === "pod" || to.kind === "pod"))
      .flatMap((to) => ([4, 6] as const).flatMap((family) => flowsBetween(from, to, family, ports))),
  );
}

function flowsBetween(from: FlowEnd, to: FlowEnd, family: 4 | 6, ports: readonly number[]): Flow[] {
  const [fromAddress, toAddress] = [from.endpoint.addresses[family], to.endpoint.addresses[family]];
  if (fromAddress === undefined || toAddress === undefined) return [];
  const common = {
    from: from.endpoint,
    to: to.endpoint,
    family,
    fromTitle: from.title,
    toTitle: to.title,
    fromAddress,
    toAddress,
  };
  const withPorts = (["tcp", "udp"] as const).flatMap((proto) =>
    [to.endpoint.port, ...ports].map((port) => ({ ...common, proto, port })),
  );
  return [...withPorts, { ...common, proto: "icmp", port: 0 }];
}

/** Names the flow, addresses included: a pod with other addresses has other flows. */
export function flowKey({ fromAddress, toAddress, proto, port }: Flow): string {
  return [fromAddress, toAddress, proto, port].join(" ");
}

/** "passes": its target answered. "refused": it came to its target, where nobody serves the port. */
export function outcomeOf({ ok, error = "" }: ProbeResult): "passes" | "refused" | "lost" {
  if (ok) return "passes";
  return error.includes("ECONNREFUSED") ? "refused" : "lost";
}

/** What is not as expected, in one line that has both answers; undefined where all is well. `who` expects it. */
export function flowProblem(flow: Flow, result: ProbeResult, expected: Expected, who: string): string | undefined {
  const port = flow.proto === "icmp" ? "icmp" : `${flow.proto} ${flow.port}`;
  const what = `${flow.fromTitle} -> ${flow.toTitle}, ${port} over v${flow.family}`;
  const outcome = outcomeOf(result);
  if (!expected.passes) {
    if (outcome === "lost") return undefined;
    return `${what}: it passes${outcome === "refused" ? " (and is refused by its target)" : ""}; ${who} it does not (${expected.because})`;
  }
  if (outcome !== "passes") return `${what}: it does not pass (${result.error ?? "no reason"}); ${who} it does`;
  if (flow.proto === "icmp") return undefined; // an echo reply names nobody
  if (result.name !== flow.to.name) return `${what}: ${result.name ?? "nobody"} answered`;
  if (result.seenFrom !== flow.fromAddress)
    return `${what}: seen from ${result.seenFrom ?? "nowhere"}, not from ${flow.fromAddress}`;
  return undefined;
}

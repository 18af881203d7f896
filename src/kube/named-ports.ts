// The ports of pods that have names: kept once for all pods that have the same, since most pods of a cluster are copies of a few.

import { keepNewest } from "../base/newest.ts";

/** A port that a container has given a name to. */
export interface PortName {
  name: string;
  /** "TCP", "UDP" or "SCTP". */
  protocol: string;
  port: number;
}

/** Lists of ports that are kept; the oldest is forgotten first, and then costs its memory once more. */
const keptMax = 4096;
const kept = new Map<string, readonly PortName[]>();

/**
 * Those of `ports` that have a name, the same list for the same ports; undefined where none has. A protocol that is not said is TCP
 * (core/v1 defaults).
 */
export function namedPortsOf(
  ports: readonly { name?: string; containerPort: number; protocol?: string }[],
): readonly PortName[] | undefined {
  const named = ports.flatMap(({ name = "", containerPort, protocol = "TCP" }) =>
    name === "" ? [] : [{ name, protocol, port: containerPort }],
  );
  if (named.length === 0) return undefined;
  const key = named.map(({ name, protocol, port }) => `${name} ${protocol} ${port}`).join();
  const known = kept.get(key);
  if (known !== undefined) return known;
  keepNewest(kept, key, named, keptMax);
  return named;
}

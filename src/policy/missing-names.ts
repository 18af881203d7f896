// Rules that name a port which the called pod has not got: they allow nothing, and it is seldom meant.

import type { NamedPort, Packet, Rule, Subject } from "./model.ts";
import { podTitle, trafficText } from "./packet-text.ts";
import { protocolText } from "./port.ts";

/** Ports of a pod that are named beside one that it has not got. */
const portsShownMax = 8;

type Ports = readonly Pick<NamedPort, "name" | "protocol">[];

/** The names in `rule` that are not among `ports`. */
export function missingNames(rule: Rule, ports: Ports): { name: string; protocol: number }[] {
  return rule.ports.flatMap((match) => {
    if (!("peerPort" in match)) return [];
    const { peerPort: name, protocol } = match;
    return ports.some((port) => port.name === name && port.protocol === protocol) ? [] : [{ name, protocol }];
  });
}

/** What is wrong with a rule whose peer is right, as the end of a sentence, with its cure; undefined where names are not what is wrong. */
export function missingNameMiss(
  rule: Rule,
  packet: Packet,
  called: Subject | undefined,
): { says: string; cure: string } | undefined {
  const ports = called?.hints?.ports;
  if (called === undefined || ports === undefined) return undefined;
  const missing = missingNames(rule, ports).find(({ protocol }) => protocol === packet.protocol);
  if (missing === undefined) return undefined;
  const pod = `pod ${podTitle(called)}`;
  const own = ports.find(({ protocol, port }) => protocol === packet.protocol && port === packet.destinationPort);
  const cure =
    own === undefined
      ? `name ${trafficText(packet)} of ${pod} ${missing.name}, or add it to ${rule.from} by its number`
      : `write ${own.name} in place of ${missing.name} in ${rule.from}`;
  return { says: `${pod} has no port named ${missing.name} (${portsOf(ports)})`, cure };
}

function portsOf(ports: readonly NamedPort[]): string {
  if (ports.length === 0) return "it has none with a name";
  const shown = ports
    .slice(0, portsShownMax)
    .map(({ name, protocol, port }) => `${name} ${protocolText(protocol)} ${port}`);
  return `it has ${shown.join(", ")}${ports.length > shown.length ? ` and ${ports.length - shown.length} more` : ""}`;
}

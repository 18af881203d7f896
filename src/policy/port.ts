// Protocols and ports in rules, of NetworkPolicy and of groups: what cannot be read allows nothing.

import type { GroupRule, NetworkPolicyPort } from "../kube/policy-objects.ts";
import type { PortMatch } from "./model.ts";
import type { Report } from "./problem.ts";

/** IP protocols that we tell apart (IANA). */
export const protocols = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
const names = new Map<number, string>(Object.entries(protocols).map(([name, number]) => [number, name]));
const numbers = new Map<string, number>(Object.entries(protocols));
const portMax = 65_535;
const protocolMax = 255;

/** "tcp"; of one without a name, its number. */
export function protocolText(protocol: number): string {
  return names.get(protocol) ?? `protocol ${protocol}`;
}

export function hasPorts(protocol: number): boolean {
  return protocol === protocols.tcp || protocol === protocols.udp || protocol === protocols.sctp;
}

/** The name of a port as Kubernetes admits it (RFC 6335): at most 15 characters, a letter among them. */
export const portNameForm = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*$/;

/** Reads an entry of `ports`; a name stands as `peerPort`, whichever end it is about. */
export function readPolicyPort(
  { protocol = "TCP", port, endPort }: NetworkPolicyPort,
  path: string,
  report: Report,
): PortMatch | undefined {
  const number = protocol === "TCP" ? protocols.tcp : protocol === "UDP" ? protocols.udp : protocols.sctp;
  const refuse = (where: string, message: string): undefined => {
    report(`${path}.${where}`, `${message}; this entry of ports allows nothing`);
    return undefined;
  };
  if (port === undefined) {
    return endPort === undefined
      ? { protocol: number }
      : refuse("endPort", "endPort needs port, the first of the range");
  }
  if (typeof port === "string") {
    if (endPort !== undefined) return refuse("endPort", "a named port is no begin of a range");
    if (!portNameForm.test(port))
      return refuse("port", `${JSON.stringify(port)} is not the name of a port${cureOf(port)}`);
    return { protocol: number, peerPort: port };
  }
  if (port < 1 || port > portMax) return refuse("port", `${port} is not a port (1-${portMax})`);
  return rangeOf(number, { port, ...(endPort === undefined ? {} : { endPort }) }, refuse);
}

/** What to write for text that is meant as numbers. */
function cureOf(port: string): string {
  if (/^\d{1,5}-\d{1,5}$/.test(port)) return ", write port and endPort";
  return /^\d{1,5}$/.test(port) ? ", write it without quotes" : "";
}

function rangeOf(
  protocol: number,
  { port, endPort = port }: { port: number; endPort?: number },
  refuse: (where: string, message: string) => undefined,
): PortMatch | undefined {
  if (endPort < port) return refuse("endPort", `${endPort} is smaller than port, ${port}`);
  if (endPort > portMax) return refuse("endPort", `${endPort} is not a port (at most ${portMax})`);
  return { protocol, first: port, last: endPort };
}

/** Reads what a group's rule says of protocol, ports and messages: none where it says nothing. Undefined where nothing of it can be read. */
export function readGroupPorts(rule: GroupRule, path: string, report: Report): readonly PortMatch[] | undefined {
  const { protocol, ports, icmp } = rule;
  const refuse = (where: string, message: string): undefined => {
    report(`${path}.${where}`, `${message}; the rule allows nothing`);
    return undefined;
  };
  if (protocol === undefined) {
    if (ports !== undefined) return refuse("ports", "ports need a protocol: tcp, udp or sctp");
    return icmp === undefined ? [] : refuse("icmp", "a message needs a protocol: icmp or icmpv6");
  }
  const number = numbers.get(protocol) ?? (/^[0-9]{1,3}$/.test(protocol) ? Number(protocol) : Number.NaN);
  if (!(number <= protocolMax)) return refuse("protocol", `${JSON.stringify(protocol)} is not an IP protocol (0-255)`);
  if (icmp !== undefined) {
    if (ports !== undefined) return refuse("ports", "a rule is about ports or about messages (icmp), not both");
    if (number !== protocols.icmp && number !== protocols.icmpv6) {
      return refuse("icmp", `${protocolText(number)} has no such messages; the protocol is icmp or icmpv6`);
    }
    return [{ protocol: number, ...icmp }];
  }
  if (ports === undefined) return [{ protocol: number }];
  if (!hasPorts(number)) return refuse("ports", `${protocolText(number)} has no ports`);
  if (ports.length === 0) return refuse("ports", "an empty list is no port; leave ports away for all of them");
  const read = ports.flatMap(({ port, endPort }, index) => {
    const range = { port, ...(endPort === undefined ? {} : { endPort }) };
    const match = rangeOf(number, range, (where, message) => {
      report(`${path}.ports[${index}].${where}`, `${message}; this entry of ports allows nothing`);
      return undefined;
    });
    return match === undefined ? [] : [match];
  });
  return read.length === 0 ? undefined : read;
}

/** "tcp 80-90", "udp", "icmp type 8", "tcp port http". */
export function portText(match: PortMatch): string {
  const protocol = protocolText(match.protocol);
  if ("peerPort" in match) return `${protocol} port ${match.peerPort}`;
  if ("first" in match) return `${protocol} ${match.first}${match.last === match.first ? "" : `-${match.last}`}`;
  if ("type" in match) return `${protocol} type ${match.type}${match.code === undefined ? "" : ` code ${match.code}`}`;
  return protocol;
}

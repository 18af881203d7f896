// What people write for the traffic that they ask about: PORT, PORT/PROTOCOL, a port's name, icmp. Pure.

import { Fault } from "../../base/fault.ts";
import { quote } from "../../cni/quote.ts";
import { type Ip, ipFamily } from "../../net/ip.ts";
import type { NamedPort, Packet } from "../../policy/model.ts";
import { portNameForm, protocols, protocolText } from "../../policy/port.ts";

/** An echo request, or a port of TCP, UDP or SCTP. */
export type Traffic = "icmp" | { protocol: number; port: number };

const portMax = 65_535;
const withPorts: ReadonlyMap<string, number> = new Map([
  ["tcp", protocols.tcp],
  ["udp", protocols.udp],
  ["sctp", protocols.sctp],
]);
const forms =
  "write PORT, PORT/tcp, PORT/udp, PORT/sctp or icmp, where PORT is a number or the name of a port of the target";

/**
 * Reads `text`; names are those of `ports`, of the target.
 * @throws Fault "unsupported-value" where it is none of the forms, "not-found" where the target has no port of that name
 */
export function readTraffic(text: string, ports: readonly NamedPort[]): Traffic {
  if (text === "icmp") return "icmp";
  const [port = "", protocolWord = "tcp", ...more] = text.split("/");
  const protocol = withPorts.get(protocolWord.toLowerCase());
  const isNumber = /^\d+$/.test(port);
  const isName = portNameForm.test(port) && !withPorts.has(port) && port !== "icmp";
  if (protocol === undefined || more.length > 0 || !(isNumber || isName))
    throw new Fault("unsupported-value", `${quote(text)} is no traffic; ${forms}`);
  if (isNumber) {
    if (Number(port) < 1 || Number(port) > portMax)
      throw new Fault("unsupported-value", `${quote(text)}: ports are 1 to ${portMax}`);
    return { protocol, port: Number(port) };
  }
  const found = ports.find((one) => one.name === port && (!text.includes("/") || one.protocol === protocol));
  if (found !== undefined) return { protocol: found.protocol, port: found.port };
  const names = ports.map((one) => `${one.name}/${protocolText(one.protocol)}`);
  const hint = names.length === 0 ? "it has none with a name" : `it has ${names.join(", ")}`;
  throw new Fault("not-found", `the target has no port ${quote(text)}; ${hint}`);
}

/** The first packet of such a flow. */
export function packetOf(source: Ip, destination: Ip, traffic: Traffic): Packet {
  if (traffic !== "icmp") return { source, destination, protocol: traffic.protocol, destinationPort: traffic.port };
  // RFC 792 and RFC 4443: echo request.
  return ipFamily(source) === 4
    ? { source, destination, protocol: protocols.icmp, icmp: { type: 8, code: 0 } }
    : { source, destination, protocol: protocols.icmpv6, icmp: { type: 128, code: 0 } };
}

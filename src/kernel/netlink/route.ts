// Routes on the wire.

import { Fault } from "../../base/fault.ts";
import { cidrFamily, cidrPrefix } from "../../net/cidr.ts";
import { type Ip, ipBytes, ipFamily, ipFromBytes } from "../../net/ip.ts";
import { type Op, type Route, type RouteKey, routeProtocol } from "../contract.ts";
import { decodeAttributes, defineAttributes, encodeAttributes, malformed, reserve } from "./codec.ts";
import { familyNumber, familyOf, networkAttribute, networkOf, splitTable } from "./family.ts";
import { linkIndex } from "./link.ts";
import { type Request, goneErrnos, messageFlag } from "./message.ts";

/** Message types (linux/rtnetlink.h). */
export const routeMessage = { new: 24, delete: 25, get: 26 } as const;

/** struct rtmsg: family, prefix length of to, of from, tos, table u8, protocol, scope, type, flags u32. */
const headerLen = 12;

const mainTable = 254;
/** What the kernel gives an IPv6 route without a metric; an IPv4 route then has 0. */
const defaultMetric = { 4: 0, 6: 1024 } as const;
const flagCloned = 0x200;

const scopeNumber = { global: 0, link: 253, host: 254 } as const;
const scopeNowhere = 255;
const scopeNames = new Map<number, NonNullable<Route["scope"]>>([
  [scopeNumber.link, "link"],
  [scopeNumber.host, "host"],
]);

const typeNumber = { unicast: 1, local: 2, broadcast: 3, anycast: 4, multicast: 5, blackhole: 6, unreachable: 7 };
const typeNames = new Map<number, NonNullable<Route["type"]>>([
  [1, "unicast"],
  [2, "local"],
  [3, "broadcast"],
  [4, "anycast"],
  [5, "multicast"],
  [6, "blackhole"],
  [7, "unreachable"],
]);
const firstRejectingType = typeNumber.blackhole;

const metricAttributes = defineAttributes({ mtu: { id: 2, kind: "u32" } });
const attributes = defineAttributes({
  to: { id: 1, kind: "ip" },
  link: { id: 4, kind: "u32" },
  via: { id: 5, kind: "ip" },
  metric: { id: 6, kind: "u32" },
  src: { id: 7, kind: "ip" },
  metrics: { id: 8, kind: "nested", of: metricAttributes },
  /** Next hops side by side: each a struct rtnexthop and attributes of its own. */
  multipath: { id: 9, kind: "bytes" },
  table: { id: 15, kind: "u32" },
  /** A next hop of the other family: its number u16, then the address. */
  viaOther: { id: 18, kind: "bytes" },
});

/** Requests that the route be added, or added or changed. */
export function addRouteRequest(op: Op & { op: "route.add" | "route.replace" }): Request {
  const { route } = op;
  const { type = "unicast", scope = type === "local" ? "host" : "global" } = route;
  const family = cidrFamily(route.to);
  if (type === "other") throw new Fault("kernel-refused", `a route of type "other" is something that is only read`);
  for (const ip of [route.src, family === 6 ? route.via : undefined]) {
    if (ip !== undefined && ipFamily(ip) !== family) throw wrongFamily(route, ip);
  }
  return {
    type: routeMessage.new,
    flags: messageFlag.ack | messageFlag.create | (op.op === "route.add" ? messageFlag.exclusive : messageFlag.replace),
    fill: (writer) => {
      const at = reserve(writer, headerLen);
      writeKey(writer.bytes, at, route, family);
      writer.bytes.writeUInt8(route.protocol ?? routeProtocol, at + 5);
      writer.bytes.writeUInt8(family === 4 ? scopeNumber[scope] : 0, at + 6);
      writer.bytes.writeUInt8(typeNumber[type], at + 7);
      encodeAttributes(writer, attributes, {
        to: networkAttribute(route.to),
        ...nextHop(route.via, family),
        src: route.src,
        metric: route.metric,
        table: splitTable(route.table ?? mainTable).attribute,
        link: route.link === undefined ? undefined : linkIndex(route.link),
        metrics: route.mtu === undefined ? undefined : { mtu: route.mtu },
      });
    },
  };
}

/** Requests that the route be removed: only one made with `protocol`, ours if absent, so that nobody else's route of that key goes. */
export function removeRouteRequest({ route }: Op & { op: "route.remove" }): Request {
  const family = cidrFamily(route.to);
  return {
    type: routeMessage.delete,
    flags: messageFlag.ack,
    tolerate: goneErrnos,
    fill: (writer) => {
      const at = reserve(writer, headerLen);
      writeKey(writer.bytes, at, route, family);
      writer.bytes.writeUInt8(route.protocol ?? routeProtocol, at + 5);
      writer.bytes.writeUInt8(scopeNowhere, at + 6);
      // Without a metric the kernel would take an IPv6 route of any; absent means the default here, as it does in an addition.
      const metric = family === 6 ? route.metric || defaultMetric[6] : route.metric;
      encodeAttributes(writer, attributes, {
        to: networkAttribute(route.to),
        metric,
        table: splitTable(route.table ?? mainTable).attribute,
        link: route.link === undefined ? undefined : linkIndex(route.link),
      });
    },
  };
}

function writeKey(bytes: Buffer, at: number, { to, table = mainTable }: RouteKey, family: 4 | 6): void {
  bytes.writeUInt8(familyNumber(family), at);
  bytes.writeUInt8(cidrPrefix(to), at + 1);
  bytes.writeUInt8(splitTable(table).header, at + 4);
}

function nextHop(via: Ip | undefined, family: 4 | 6): { via?: Ip; viaOther?: Uint8Array } {
  if (via === undefined) return {};
  return ipFamily(via) === family ? { via } : { viaOther: Buffer.from([familyNumber(6), 0, ...ipBytes(via)]) };
}

function wrongFamily({ to }: Route, ip: Ip): Fault {
  return new Fault("kernel-refused", `${ip} is of the wrong family for a route to ${to}`);
}

/** Requests every route of every table. */
export function dumpRoutesRequest(): Request {
  return { type: routeMessage.get, flags: messageFlag.dump, fill: (writer) => reserve(writer, headerLen) };
}

/**
 * Reads the body of an RTM_NEWROUTE in the shortest form: what the kernel would choose by itself is absent. Of several next hops the first is given.
 * Undefined for what a Route cannot say: other families, cached exceptions, routes that depend on the packet's source or tos.
 */
export function decodeRoute(body: Buffer): Route | undefined {
  if (body.length < headerLen) throw malformed(`a route of ${body.length} bytes`);
  const family = familyOf(body.readUInt8(0));
  const cloned = (body.readUInt32LE(8) & flagCloned) !== 0;
  if (family === undefined || cloned || body.readUInt8(2) !== 0 || body.readUInt8(3) !== 0) return undefined;
  const values = decodeAttributes(attributes, body.subarray(headerLen));
  const table = values.table ?? body.readUInt8(4);
  const type = typeNames.get(body.readUInt8(7)) ?? "other";
  const scope = family === 4 ? scopeNames.get(body.readUInt8(6)) : undefined;
  const hop = values.multipath === undefined ? values : firstHop(values.multipath);
  const via = hop.via ?? otherVia(hop.viaOther);
  // The kernel shows the loopback link on an IPv6 route that leads nowhere.
  const rejects = body.readUInt8(7) >= firstRejectingType;
  const { metric = 0, src, metrics } = values;
  return {
    to: networkOf(family, values.to, body.readUInt8(1)),
    ...(hop.link === undefined || rejects ? {} : { link: hop.link }),
    ...(metric === defaultMetric[family] ? {} : { metric }),
    ...(table === mainTable ? {} : { table }),
    ...(via === undefined ? {} : { via }),
    ...(src === undefined ? {} : { src }),
    ...(scope === undefined ? {} : { scope }),
    ...(type === "unicast" ? {} : { type }),
    protocol: body.readUInt8(5),
    ...(metrics?.mtu === undefined ? {} : { mtu: metrics.mtu }),
  };
}

/** The first struct rtnexthop: length u16, flags, hops, link s32, then attributes. */
function firstHop(hops: Uint8Array): { link?: number; via?: Ip | undefined; viaOther?: Uint8Array | undefined } {
  const bytes = Buffer.from(hops.buffer, hops.byteOffset, hops.length);
  const length = bytes.length < 8 ? 0 : bytes.readUInt16LE(0);
  if (length < 8 || length > bytes.length) throw malformed(`a next hop of ${length} bytes in ${bytes.length}`);
  const { via, viaOther } = decodeAttributes(attributes, bytes.subarray(8, length));
  return { link: bytes.readInt32LE(4), via, viaOther };
}

function otherVia(bytes: Uint8Array | undefined): Ip | undefined {
  return bytes?.length === 18 || bytes?.length === 6 ? ipFromBytes(bytes.subarray(2)) : undefined;
}

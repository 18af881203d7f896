// Operations as netlink requests: which messages an Op becomes, and how it is called in an error.

import { unreachable } from "../../base/assert.ts";
import type { LinkRef, Netns, Op } from "../contract.ts";
import { addressRequest } from "./address.ts";
import { addVethRequests, removeGroupRequest, removeLinkRequest, setLinkRequests } from "./link.ts";
import type { Request } from "./message.ts";
import { neighbourRequest } from "./neighbour.ts";
import { addRouteRequest, removeRouteRequest } from "./route.ts";
import { ruleRequest } from "./rule.ts";

/**
 * The messages of one operation, in order. `netnsFd` gives the descriptor number of a namespace that is named as a veth's other end.
 * @throws Fault "kernel-refused" for what no message can say
 */
export function opRequests(op: Op, netnsFd: (netns: Netns) => number): Request[] {
  switch (op.op) {
    case "link.addVeth":
      return addVethRequests(op, netnsFd(op.peer.netns));
    case "link.set": {
      const { op: _, link, ...change } = op;
      return setLinkRequests(link, change);
    }
    case "link.remove":
      return [removeLinkRequest(op.link)];
    case "link.removeGroup":
      return [removeGroupRequest(op.group)];
    case "address.add":
    case "address.remove":
      return [addressRequest(op)];
    case "route.add":
    case "route.replace":
      return [addRouteRequest(op)];
    case "route.remove":
      return [removeRouteRequest(op)];
    case "rule.add":
    case "rule.remove":
      return [ruleRequest(op)];
    case "neighbour.set":
    case "neighbour.remove":
      return [neighbourRequest(op)];
    default:
      return unreachable(op, "operation");
  }
}

/** The operation and its object in a few words: "address.add 10.0.0.1/32 on link 5". */
export function opPhrase(op: Op): string {
  switch (op.op) {
    case "link.addVeth":
      return `${op.op} ${op.name} with peer ${op.peer.name}`;
    case "link.set":
      return `${op.op} ${linkPhrase(op.link)}${op.rename === undefined ? "" : ` rename ${op.rename}`}`;
    case "link.remove":
      return `${op.op} ${linkPhrase(op.link)}`;
    case "link.removeGroup":
      return `${op.op} ${op.group}`;
    case "address.add":
    case "address.remove":
      return `${op.op} ${op.address}/${op.prefix} on link ${op.link}`;
    case "route.add":
    case "route.replace":
    case "route.remove": {
      const { to, link, table } = op.route;
      const via = "via" in op.route && op.route.via !== undefined ? ` via ${op.route.via}` : "";
      return `${op.op} ${to}${via}${link === undefined ? "" : ` on link ${link}`}${table === undefined ? "" : ` in table ${table}`}`;
    }
    case "rule.add":
    case "rule.remove":
      return `${op.op} ${op.rule.priority} lookup ${op.rule.table} (IPv${op.rule.family})`;
    case "neighbour.set":
    case "neighbour.remove":
      return `${op.op} ${op.address} on link ${op.link}`;
    default:
      return unreachable(op, "operation");
  }
}

/** "link 5" or the link's name. */
export function linkPhrase(ref: LinkRef): string {
  return typeof ref === "number" ? `link ${ref}` : ref;
}

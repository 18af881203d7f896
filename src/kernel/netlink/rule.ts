// Routing policy rules on the wire.

import { Fault } from "../../base/fault.ts";
import { cidrFamily, cidrPrefix } from "../../net/cidr.ts";
import { type Op, type Rule, routeProtocol } from "../contract.ts";
import { decodeAttributes, defineAttributes, encodeAttributes, malformed, reserve } from "./codec.ts";
import { familyNumber, familyOf, networkAttribute, networkOf, splitTable } from "./family.ts";
import { type Request, goneErrnos, messageFlag } from "./message.ts";

/** Message types (linux/rtnetlink.h). */
export const ruleMessage = { new: 32, delete: 33, get: 34 } as const;

/** struct fib_rule_hdr: family, prefix length of to, of from, tos, table u8, 2 reserved, action, flags u32. */
const headerLen = 12;
const actionLookup = 1;
const flagInvert = 0x2;
const wholeMask = 0xffff_ffff;

const attributes = defineAttributes({
  to: { id: 1, kind: "ip" },
  from: { id: 2, kind: "ip" },
  priority: { id: 6, kind: "u32" },
  mark: { id: 10, kind: "u32" },
  mask: { id: 16, kind: "u32" },
  table: { id: 15, kind: "u32" },
  protocol: { id: 21, kind: "u8" },
});

/** Selectors that a Rule has no word for: input link, tunnel, output link, l3mdev, users, IP protocol, ports, DSCP, flow label. */
const foreignSelectors = defineAttributes({
  inputLink: { id: 3, kind: "bytes" },
  tunnel: { id: 12, kind: "bytes" },
  outputLink: { id: 17, kind: "bytes" },
  users: { id: 20, kind: "bytes" },
  ipProtocol: { id: 22, kind: "bytes" },
  sourcePorts: { id: 23, kind: "bytes" },
  targetPorts: { id: 24, kind: "bytes" },
  dscp: { id: 25, kind: "bytes" },
});

/** Requests that the rule be added or removed; a removal takes the first rule that has everything that `rule` names. */
export function ruleRequest(op: Op & { op: "rule.add" | "rule.remove" }): Request {
  const { rule } = op;
  const adding = op.op === "rule.add";
  for (const cidr of [rule.from, rule.to]) {
    if (cidr !== undefined && cidrFamily(cidr) !== rule.family) {
      throw new Fault(
        "kernel-refused",
        `${cidr} is no IPv${rule.family} network, but the rule is for IPv${rule.family}`,
      );
    }
  }
  return {
    type: adding ? ruleMessage.new : ruleMessage.delete,
    flags: adding ? messageFlag.ack | messageFlag.create | messageFlag.exclusive : messageFlag.ack,
    ...(adding ? {} : { tolerate: goneErrnos }),
    fill: (writer) => {
      const table = splitTable(rule.table);
      const at = reserve(writer, headerLen);
      writer.bytes.writeUInt8(familyNumber(rule.family), at);
      writer.bytes.writeUInt8(rule.to === undefined ? 0 : cidrPrefix(rule.to), at + 1);
      writer.bytes.writeUInt8(rule.from === undefined ? 0 : cidrPrefix(rule.from), at + 2);
      writer.bytes.writeUInt8(actionLookup, at + 7);
      const { priority, mark, mask, protocol = routeProtocol } = rule;
      writer.bytes.writeUInt8(table.header, at + 4);
      encodeAttributes(writer, attributes, {
        from: networkAttribute(rule.from),
        to: networkAttribute(rule.to),
        mark,
        mask,
        table: table.attribute,
        priority,
        protocol,
      });
    },
  };
}

/** Requests every rule of the namespace. */
export function dumpRulesRequest(): Request {
  return { type: ruleMessage.get, flags: messageFlag.dump, fill: (writer) => reserve(writer, headerLen) };
}

/** Reads the body of an RTM_NEWRULE; undefined for a rule that a Rule cannot say: another family or action, or a selector it has no word for. */
export function decodeRule(body: Buffer): Rule | undefined {
  if (body.length < headerLen) throw malformed(`a rule of ${body.length} bytes`);
  const family = familyOf(body.readUInt8(0));
  const inverted = (body.readUInt32LE(8) & flagInvert) !== 0;
  const tos = body.readUInt8(3);
  if (family === undefined || body.readUInt8(7) !== actionLookup || inverted || tos !== 0) return undefined;
  const tail = body.subarray(headerLen);
  if (Object.keys(decodeAttributes(foreignSelectors, tail)).length > 0) return undefined;
  const values = decodeAttributes(attributes, tail);
  const table = values.table ?? body.readUInt8(4);
  if (table === 0) return undefined; // the table is chosen by a virtual router
  const toPrefix = body.readUInt8(1);
  const fromPrefix = body.readUInt8(2);
  const { mask, protocol } = values;
  const mark = values.mark ?? (mask === undefined ? undefined : 0); // the kernel leaves a mark of 0 out
  return {
    family,
    priority: values.priority ?? 0,
    table,
    ...(fromPrefix === 0 ? {} : { from: networkOf(family, values.from, fromPrefix) }),
    ...(toPrefix === 0 ? {} : { to: networkOf(family, values.to, toPrefix) }),
    ...(mark === undefined ? {} : { mark }),
    ...(mask === undefined || mask === wholeMask ? {} : { mask }),
    ...(protocol === undefined ? {} : { protocol }),
  };
}

// The messages that make, change and read a table, its chains, rules and counters: attributes by name, one function a message.

import {
  type AttributeTable,
  type AttributeValues,
  type Writer,
  defineAttributes,
  encodeAttributes,
  reserve,
  writeNest,
} from "../netlink/codec.ts";
import { type Request, messageFlag } from "../netlink/message.ts";
import {
  batchMessage,
  familyInet,
  hooks,
  nftMessage,
  objectCounter,
  policyAccept,
  priorities,
  subsystem,
  userDataType,
} from "./constants.ts";
import { type Expression, counterAttributes, writeExpressions } from "./expression-kinds.ts";
import type { Chain } from "./ruleset.ts";

const batchAttributes = defineAttributes({ generation: { id: 1, kind: "be32" } });

export const generationAttributes = defineAttributes({ id: { id: 1, kind: "be32" } });

export const tableAttributes = defineAttributes({
  name: { id: 1, kind: "string" },
  flags: { id: 2, kind: "be32" },
  userData: { id: 6, kind: "bytes" },
});

const hookAttributes = defineAttributes({ number: { id: 1, kind: "be32" }, priority: { id: 2, kind: "be32" } });

export const chainAttributes = defineAttributes({
  table: { id: 1, kind: "string" },
  name: { id: 3, kind: "string" },
  type: { id: 7, kind: "string" },
  policy: { id: 5, kind: "be32" },
  hook: { id: 4, kind: "nested", of: hookAttributes },
});

export const ruleAttributes = defineAttributes({
  table: { id: 1, kind: "string" },
  chain: { id: 2, kind: "string" },
  userData: { id: 7, kind: "bytes" },
});
const ruleExpressionsId = 4;

export const objectAttributes = defineAttributes({
  table: { id: 1, kind: "string" },
  name: { id: 2, kind: "string" },
  type: { id: 3, kind: "be32" },
  counter: { id: 4, kind: "nested", of: counterAttributes },
});

/** A message of the inet family that is nothing but attributes. */
export function attributesMessage<T extends AttributeTable>(
  type: number,
  flags: number,
  table: T,
  values: AttributeValues<T>,
): Request {
  return inetMessage(type, flags, (writer) => encodeAttributes(writer, table, values));
}

/** A question about a table of any family. */
export function questionOfFamily<T extends AttributeTable>(
  type: number,
  family: number,
  table: T,
  values: AttributeValues<T>,
): Request {
  const fill = (writer: Writer): void => {
    writeFamilyHeader(writer, family, 0);
    encodeAttributes(writer, table, values);
  };
  return { type, flags: 0, fill };
}

/** Asks for every chain of a family. */
export function chainsQuestion(family: number): Request {
  return { type: nftMessage.getChain, flags: 0, fill: (writer) => writeFamilyHeader(writer, family, 0) };
}

/** Makes the table; one that is there is no error and keeps what it has. */
export function newTable(name: string, userData?: Uint8Array): Request {
  return attributesMessage(nftMessage.newTable, messageFlag.create, tableAttributes, { name, flags: 0, userData });
}

export function deleteTable(name: string): Request {
  return attributesMessage(nftMessage.deleteTable, 0, tableAttributes, { name });
}

export function newCounter(table: string, name: string): Request {
  const counter = { bytes: 0n, packets: 0n };
  const values = { table, name, type: objectCounter, counter };
  return attributesMessage(nftMessage.newObject, messageFlag.create, objectAttributes, values);
}

export function newChain(table: string, { name, hook }: Chain): Request {
  const base = hook === undefined ? {} : { type: hook.type ?? "filter", policy: policyAccept, hook: hookValues(hook) };
  return attributesMessage(nftMessage.newChain, messageFlag.create, chainAttributes, { table, name, ...base });
}

/** Deletes a chain that nothing leads to, with its rules. */
export function deleteChain(table: string, name: string): Request {
  return attributesMessage(nftMessage.deleteChain, 0, chainAttributes, { table, name });
}

/** Deletes a counter that no rule refers to. */
export function deleteCounter(table: string, name: string): Request {
  return attributesMessage(nftMessage.deleteObject, 0, objectAttributes, { table, name, type: objectCounter });
}

/** Hook and priority as the kernel holds them, the priority as an unsigned number. */
export function hookValues({ on, priority }: NonNullable<Chain["hook"]>): { number: number; priority: number } {
  return { number: hooks[on], priority: priorities[priority] >>> 0 };
}

/** Appends a rule to a chain. `tag` is kept beside it, out of nft's sight. */
export function newRule(table: string, chain: string, expressions: readonly Expression[], tag?: Uint8Array): Request {
  return inetMessage(nftMessage.newRule, messageFlag.create | messageAppend, (writer) => {
    encodeAttributes(writer, ruleAttributes, { table, chain });
    writeNest(writer, ruleExpressionsId, () => writeExpressions(writer, expressions));
    const userData = tag === undefined ? undefined : userDataEntry(userDataType.ourTag, tag);
    encodeAttributes(writer, ruleAttributes, { userData });
  });
}

/** Deletes every rule of one chain, or of all; the sets that came along with them go too. */
export function flushRules(table: string, chain?: string): Request {
  return attributesMessage(nftMessage.deleteRule, 0, ruleAttributes, { table, chain });
}

/** NLM_F_APPEND: after the rules that are there. */
const messageAppend = 0x800;

/** Begin and end of a batch; `generation`: the one that the batch was made for, if it is to fail in any other. */
export function batchBorder(border: keyof typeof batchMessage, generation?: number): Request {
  const fill = (writer: Writer): void => {
    writeFamilyHeader(writer, 0, subsystem);
    encodeAttributes(writer, batchAttributes, { generation });
  };
  return { type: batchMessage[border], flags: 0, fill };
}

/** The length of struct nfgenmsg (family, version 0, resource), which begins the body of every message. */
export const familyHeaderLen = 4;

function writeFamilyHeader(writer: Writer, family: number, resource: number): void {
  const at = reserve(writer, familyHeaderLen);
  writer.bytes.writeUInt8(family, at);
  writer.bytes.writeUInt16BE(resource, at + 2);
}

function inetMessage(type: number, flags: number, write: (writer: Writer) => void): Request {
  const fill = (writer: Writer): void => {
    writeFamilyHeader(writer, familyInet, 0);
    write(writer);
  };
  return { type, flags, fill };
}

/** One entry of user data: type, length, value. */
export function userDataEntry(type: number, value: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(type, value.length), value]);
}

/** The value of the first entry of that type, undefined where there is none or the bytes are no entries. */
export function userDataValue(userData: Uint8Array, type: number): Uint8Array | undefined {
  for (let at = 0; at + 2 <= userData.length;) {
    const end = at + 2 + (userData[at + 1] ?? 0);
    if (end > userData.length) return undefined;
    if (userData[at] === type) return userData.subarray(at + 2, end);
    at = end;
  }
  return undefined;
}

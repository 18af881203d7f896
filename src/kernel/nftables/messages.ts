// The messages that make, change and read a table: attributes by name, one function a message.

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
  dataTypeBits,
  elementIntervalEnd,
  familyInet,
  hooks,
  nftMessage,
  objectCounter,
  policyAccept,
  priorities,
  setFlag,
  subsystem,
  userDataType,
} from "./constants.ts";
import { type ConstantSet, type Expression, anonymousSetName, writeExpressions } from "./expressions.ts";
import { type FieldName, fields } from "./fields.ts";
import type { Chain, NamedSet } from "./ruleset.ts";

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

const counterAttributes = defineAttributes({ bytes: { id: 1, kind: "be64" }, packets: { id: 2, kind: "be64" } });
const objectAttributes = defineAttributes({
  table: { id: 1, kind: "string" },
  name: { id: 2, kind: "string" },
  type: { id: 3, kind: "be32" },
  counter: { id: 4, kind: "nested", of: counterAttributes },
});

const setDescription = defineAttributes({ size: { id: 1, kind: "be32" } });
export const setAttributes = defineAttributes({
  table: { id: 1, kind: "string" },
  name: { id: 2, kind: "string" },
  flags: { id: 3, kind: "be32" },
  keyType: { id: 4, kind: "be32" },
  keyLen: { id: 5, kind: "be32" },
  id: { id: 10, kind: "be32" },
  description: { id: 9, kind: "nested", of: setDescription },
  userData: { id: 13, kind: "bytes" },
});

const dataAttributes = defineAttributes({ value: { id: 1, kind: "bytes" } });
const elementAttributes = defineAttributes({
  flags: { id: 3, kind: "be32" },
  key: { id: 1, kind: "nested", of: dataAttributes },
});
export const elementsAttributes = defineAttributes({
  table: { id: 1, kind: "string" },
  set: { id: 2, kind: "string" },
  setId: { id: 4, kind: "be32" },
  elements: { id: 3, kind: "list", of: elementAttributes },
});

/** Elements in one message: the list is an attribute, and no attribute is longer than 64 KiB. */
export const elementsPerMessageMax = 1000;

/** A message of the inet family that is nothing but attributes. */
export function attributesMessage<T extends AttributeTable>(
  type: number,
  flags: number,
  table: T,
  values: AttributeValues<T>,
): Request {
  return inetMessage(type, flags, (writer) => encodeAttributes(writer, table, values));
}

/** Asks for every chain of a family. */
export function chainsQuestion(family: number): Request {
  return { type: nftMessage.getChain, flags: 0, fill: (writer) => writeFamilyHeader(writer, family, 0) };
}

/** Makes the table; one that is there is no error and keeps what it has. */
export function newTable(name: string, userData?: Uint8Array): Request {
  return attributesMessage(nftMessage.newTable, messageFlag.create, tableAttributes, { name, flags: 0, userData });
}

/** Deletes a set that no rule refers to. */
export function deleteSet(table: string, name: string): Request {
  return attributesMessage(nftMessage.deleteSet, 0, setAttributes, { table, name });
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

/** Hook and priority as the kernel holds them, the priority as an unsigned number. */
export function hookValues({ on, priority }: NonNullable<Chain["hook"]>): { number: number; priority: number } {
  return { number: hooks[on], priority: priorities[priority] >>> 0 };
}

export function newSet(table: string, { name, key }: NamedSet, id: number): Request {
  const keyType = key.reduce((type, field) => (type << dataTypeBits) | fields[field].type, 0);
  const values = { table, name, flags: 0, keyType, keyLen: keyLength(key), id };
  return attributesMessage(nftMessage.newSet, messageFlag.create, setAttributes, values);
}

/** Makes a constant set and fills it; one without a name lives and dies with the rule that follows. */
export function newConstantSet(table: string, { id, name, field, interval, elements }: ConstantSet): Request[] {
  const set = name ?? anonymousSetName;
  const values = {
    table,
    name: set,
    flags: (name === undefined ? setFlag.anonymous : 0) | setFlag.constant | (interval ? setFlag.interval : 0),
    keyType: field.type,
    keyLen: field.lengthBytes,
    id,
    description: { size: elements.length },
    // Without the byte order nft cannot print the borders of an interval as a network.
    userData: userDataEntry(userDataType.setKeyByteOrder, Uint8Array.of(field.byteOrder, 0, 0, 0)),
  };
  const list = elements.map(({ key, intervalEnd }) => ({
    flags: intervalEnd ? elementIntervalEnd : undefined,
    key: { value: key },
  }));
  return [
    attributesMessage(nftMessage.newSet, messageFlag.create, setAttributes, values),
    ...chunks(list).map((part) =>
      attributesMessage(nftMessage.newElements, messageFlag.create, elementsAttributes, {
        table,
        set,
        setId: id,
        elements: part,
      }),
    ),
  ];
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

/** Deletes every rule of the table, in all of its chains; the sets that came along with them go too. */
export function flushRules(table: string): Request {
  return attributesMessage(nftMessage.deleteRule, 0, ruleAttributes, { table });
}

/** NLM_F_APPEND: after the rules that are there. */
const messageAppend = 0x800;

/** Adds, deletes or destroys elements by their keys, in as many messages as their number needs; none for no keys. */
export function elementMessages(
  change: "newElements" | "deleteElements" | "destroyElements",
  table: string,
  set: string,
  keys: readonly Uint8Array[],
): Request[] {
  const flags = change === "newElements" ? messageFlag.create : 0;
  return chunks(keys).map((part) => {
    const elements = part.map((value) => ({ key: { value } }));
    return attributesMessage(nftMessage[change], flags, elementsAttributes, { table, set, elements });
  });
}

function chunks<T>(list: readonly T[]): T[][] {
  const count = Math.ceil(list.length / elementsPerMessageMax);
  return Array.from({ length: count }, (_, index) =>
    list.slice(index * elementsPerMessageMax, (index + 1) * elementsPerMessageMax),
  );
}

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

function keyLength(key: readonly FieldName[]): number {
  return key.reduce((length, name) => length + ((fields[name].lengthBytes + 3) & ~3), 0);
}

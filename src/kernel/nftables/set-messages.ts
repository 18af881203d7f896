// The messages that make, fill, change and read sets and maps.

import { defineAttributes } from "../netlink/codec.ts";
import { type Request, messageFlag } from "../netlink/message.ts";
import { dataTypeBits, elementIntervalEnd, nftMessage, setFlag, userDataType, verdictData } from "./constants.ts";
import { dataAny } from "./expression-kinds.ts";
import { type ConstantSet, anonymousMapName, anonymousSetName, verdictValues } from "./expressions.ts";
import { type Field, type FieldName, fields, keyLength } from "./fields.ts";
import { attributesMessage, userDataEntry } from "./messages.ts";
import type { NamedSet, Verdict, VerdictMap } from "./ruleset.ts";

const setDescription = defineAttributes({ size: { id: 1, kind: "be32" } });
export const setAttributes = defineAttributes({
  table: { id: 1, kind: "string" },
  name: { id: 2, kind: "string" },
  flags: { id: 3, kind: "be32" },
  keyType: { id: 4, kind: "be32" },
  keyLen: { id: 5, kind: "be32" },
  dataType: { id: 6, kind: "be32" },
  timeoutMs: { id: 11, kind: "be64" },
  id: { id: 10, kind: "be32" },
  description: { id: 9, kind: "nested", of: setDescription },
  userData: { id: 13, kind: "bytes" },
  /** What each element has of its own. */
  expression: { id: 17, kind: "nested", of: defineAttributes({ name: { id: 1, kind: "string" } }) },
});

const dataAttributes = defineAttributes({ value: { id: 1, kind: "bytes" } });
const elementAttributes = defineAttributes({
  flags: { id: 3, kind: "be32" },
  key: { id: 1, kind: "nested", of: dataAttributes },
  data: { id: 2, kind: "nested", of: dataAny },
});
export const elementsAttributes = defineAttributes({
  table: { id: 1, kind: "string" },
  set: { id: 2, kind: "string" },
  setId: { id: 4, kind: "be32" },
  elements: { id: 3, kind: "list", of: elementAttributes },
});

/** Elements in one message, without and with verdicts: the list is an attribute, and no attribute is longer than 64 KiB. */
export const elementsPerMessageMax = 1000;
export const verdictsPerMessageMax = 400;

/** Makes an empty hash set. `tag` is kept beside it, out of nft's sight. */
export function newSet(table: string, { name, key, byPackets }: NamedSet, id: number, tag?: Uint8Array): Request {
  const dynamic = byPackets && {
    flags: setFlag.byPackets | setFlag.timeout,
    timeoutMs: BigInt(byPackets.timeoutMs),
    description: { size: byPackets.sizeMax },
  };
  const values = { table, name, flags: 0, ...keyValues(key), id, userData: taggedWith(tag), ...dynamic };
  return attributesMessage(nftMessage.newSet, messageFlag.create, setAttributes, values);
}

/** Makes an empty map. A constant one is filled in the same batch: none that a rule refers to takes elements. */
export function newVerdictMap(table: string, map: VerdictMap, id: number, tag?: Uint8Array): Request {
  const { name, key, constant, counted, verdicts } = map;
  const values = {
    table,
    name,
    flags: setFlag.map | (constant ? setFlag.constant : 0),
    ...keyValues(key),
    dataType: verdictData,
    id,
    description: constant ? { size: verdicts.length } : undefined,
    expression: counted ? { name: "counter" } : undefined,
    userData: Buffer.concat([byteOrderNote(key.map((name) => fields[name])), taggedWith(tag) ?? noBytes]),
  };
  return attributesMessage(nftMessage.newSet, messageFlag.create, setAttributes, values);
}

/** Makes a constant set and fills it; one without a name lives and dies with the rule that follows. */
export function newConstantSet(table: string, constant: ConstantSet, tag?: Uint8Array): Request[] {
  const { id, name, field, interval, elements, verdicts } = constant;
  const set = name ?? (verdicts === undefined ? anonymousSetName : anonymousMapName);
  const values = {
    table,
    name: set,
    flags:
      (name === undefined ? setFlag.anonymous : 0) |
      setFlag.constant |
      (interval ? setFlag.interval : 0) |
      (verdicts === undefined ? 0 : setFlag.map),
    keyType: field.type,
    keyLen: field.lengthBytes,
    dataType: verdicts === undefined ? undefined : verdictData,
    id,
    description: { size: elements.length },
    userData: Buffer.concat([byteOrderNote([field]), taggedWith(tag) ?? noBytes]),
  };
  const list = elements.map(({ key, intervalEnd }, index) => {
    const verdict = verdicts?.[index];
    return {
      flags: intervalEnd ? elementIntervalEnd : undefined,
      key: { value: key },
      data: verdict === undefined ? undefined : { verdict: verdictValues(verdict) },
    };
  });
  return [
    attributesMessage(nftMessage.newSet, messageFlag.create, setAttributes, values),
    ...chunks(list, elementsPerMessageMax).map((part) =>
      attributesMessage(nftMessage.newElements, messageFlag.create, elementsAttributes, {
        table,
        set,
        setId: id,
        elements: part,
      }),
    ),
  ];
}

/** Deletes a set that no rule refers to. */
export function deleteSet(table: string, name: string): Request {
  return attributesMessage(nftMessage.deleteSet, 0, setAttributes, { table, name });
}

/** Adds, deletes or destroys elements by their keys, in as many messages as their number needs; none for no keys. */
export function elementMessages(
  change: "newElements" | "deleteElements" | "destroyElements",
  table: string,
  set: string,
  keys: readonly Uint8Array[],
): Request[] {
  const flags = change === "newElements" ? messageFlag.create : 0;
  return chunks(keys, elementsPerMessageMax).map((part) => {
    const elements = part.map((value) => ({ key: { value } }));
    return attributesMessage(nftMessage[change], flags, elementsAttributes, { table, set, elements });
  });
}

/** An element of a map. */
export interface KeyedVerdict {
  key: Uint8Array;
  verdict: Verdict;
}

/** Adds elements to a map; a new verdict for a key is a deletion and an addition in one batch. */
export function verdictMessages(table: string, set: string, verdicts: readonly KeyedVerdict[]): Request[] {
  return chunks(verdicts, verdictsPerMessageMax).map((part) => {
    const elements = part.map(({ key, verdict }) => ({
      key: { value: key },
      data: { verdict: verdictValues(verdict) },
    }));
    const values = { table, set, elements };
    return attributesMessage(nftMessage.newElements, messageFlag.create, elementsAttributes, values);
  });
}

function chunks<T>(list: readonly T[], lengthMax: number): T[][] {
  const count = Math.ceil(list.length / lengthMax);
  return Array.from({ length: count }, (_, index) => list.slice(index * lengthMax, (index + 1) * lengthMax));
}

const noBytes = Buffer.alloc(0);

/** Without it nft prints the borders of an interval as they come, and numbers of this machine turned around. */
function byteOrderNote(key: readonly Field[]): Buffer {
  const [field] = key;
  if (field === undefined || key.length > 1) return noBytes;
  return userDataEntry(userDataType.setKeyByteOrder, Uint8Array.of(field.byteOrder, 0, 0, 0));
}

function taggedWith(tag: Uint8Array | undefined): Buffer | undefined {
  return tag && userDataEntry(userDataType.ourTag, tag);
}

function keyValues(key: readonly FieldName[]): { keyType: number; keyLen: number } {
  return {
    keyType: key.reduce((type, field) => (type << dataTypeBits) | fields[field].type, 0),
    keyLen: keyLength(key),
  };
}

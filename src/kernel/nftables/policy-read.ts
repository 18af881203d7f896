// Reads the policy table back from the kernel. Constant sets are not read: nobody can change what a rule of ours refers to.

import { isFault } from "../../base/fault.ts";
import { createSlicer } from "../../base/pause.ts";
import { decodeAttributes, defineAttributes, eachAttribute } from "../netlink/codec.ts";
import type { Channel } from "./channel.ts";
import { nftMessage, objectCounter, setFlag, userDataType, verdicts } from "./constants.ts";
import { dataAny } from "./expression-kinds.ts";
import { attributesMessage, objectAttributes, userDataValue } from "./messages.ts";
import { policyTableName } from "./policy-base.ts";
import { type Element, textOfKey, type Elements, noElements, ofSet } from "./elements.ts";
import type { PolicyState, SetState } from "./policy-plan.ts";
import type { Verdict } from "./ruleset.ts";
import { elementsAttributes, setAttributes } from "./set-messages.ts";
import { readTable } from "./table-read.ts";

const table = policyTableName;
/** The longest that the event loop is kept from other work by a big set. */
const sliceMs = 2;

/** The table, undefined where there is none; true only if the generation is still the same. */
export async function readPolicy(channel: Channel): Promise<{ generation: number; state: PolicyState } | undefined> {
  const reading = await readTable(channel, table);
  if (reading === undefined) return undefined;
  const { generation, shape } = reading;
  try {
    const state = {
      tag: shape.tag,
      flags: shape.flags,
      chains: new Map(shape.chains.map((chain) => [chain.name, chain])),
      counters: new Set((await readCounters(channel)).keys()),
      sets: await readSets(channel),
    };
    return { generation, state };
  } catch (error) {
    if (isFault(error, "kernel-missing")) return undefined;
    throw error;
  }
}

/** Packets that each counter of the table has counted; none where there is no table. */
export async function readCounters(channel: Channel): Promise<Map<string, number>> {
  const question = attributesMessage(nftMessage.getObject, 0, objectAttributes, { table, type: objectCounter });
  const found = await channel.dump("read the counters of policies", question, objectAttributes);
  return new Map(
    found.flatMap(({ name, counter }) => (name === undefined ? [] : [[name, Number(counter?.packets ?? 0n)] as const])),
  );
}

async function readSets(channel: Channel): Promise<PolicyState["sets"]> {
  const question = attributesMessage(nftMessage.getSet, 0, setAttributes, { table });
  const headers = await channel.dump("read the sets of policies", question, setAttributes);
  const sets = new Map<string, SetState>();
  for (const { name = "", flags = 0, keyLen = 0, userData } of headers) {
    if ((flags & setFlag.anonymous) !== 0) continue;
    const tag = userData && userDataValue(userData, userDataType.ourTag);
    const isConstant = (flags & setFlag.constant) !== 0;
    // What packets have put there is nobody's to compare.
    const isByPackets = (flags & setFlag.byPackets) !== 0;
    sets.set(name, {
      tag: tag === undefined ? "" : Buffer.from(tag).toString("hex"),
      keyLen,
      elements: isConstant ? undefined : isByPackets ? noElements : await readElements(channel, name),
    });
  }
  return sets;
}

/** The list itself: a hundred thousand elements as objects would take a second. */
const elementList = defineAttributes({ elements: { id: 3, kind: "bytes" } });
const [elementKeyId, elementDataId, valueId] = [1, 2, 1];

async function readElements(channel: Channel, set: string): Promise<Elements> {
  const question = attributesMessage(nftMessage.getElements, 0, elementsAttributes, { table, set });
  const answers = await channel.dump(`read the policy set ${set}`, question, elementList);
  const elements = new Map<string, Element>();
  const slice = createSlicer(sliceMs);
  for (const { elements: list } of answers) {
    if (list === undefined) continue;
    await slice();
    const bytes = Buffer.from(list.buffer, list.byteOffset, list.length);
    eachAttribute(bytes, 0, bytes.length, (_id, from, to) => {
      elements.set(...readElement(bytes, from, to));
    });
  }
  return elements;
}

function readElement(bytes: Buffer, from: number, to: number): [string, Element] {
  let key: Buffer = bytes.subarray(from, from);
  let verdict: Verdict | undefined;
  eachAttribute(bytes, from, to, (id, at, end) => {
    if (id === elementKeyId) {
      eachAttribute(bytes, at, end, (inner, first, last) => {
        if (inner === valueId) key = bytes.subarray(first, last);
      });
    } else if (id === elementDataId) {
      const data = decodeAttributes(dataAny, bytes.subarray(at, end));
      verdict = data.verdict && foundVerdict(data.verdict);
    }
  });
  return [textOfKey(key), verdict === undefined ? ofSet : { verdict }];
}

function foundVerdict({ code = 0, chain = "" }: { code?: number | undefined; chain?: string | undefined }): Verdict {
  switch (code | 0) {
    case verdicts.goto:
      return { goto: chain };
    case verdicts.jump:
      return { jump: chain };
    case verdicts.return:
      return { verdict: "return" };
    case verdicts.accept:
      return { verdict: "accept" };
    default:
      return { verdict: "drop" };
  }
}

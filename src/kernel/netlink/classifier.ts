// eBPF programs of traffic control on the wire: which links have one, in either direction.

import { decodeAttributes, defineAttributes, malformed, reserve, type Writer } from "./codec.ts";
import { type Request, messageFlag } from "./message.ts";

/** Message types (linux/rtnetlink.h): queueing disciplines, and filters. */
export const classifierMessage = { newQueue: 36, getQueue: 38, newFilter: 44, getFilter: 46 } as const;

/** struct tcmsg: family, 3 reserved, link s32, handle, parent, info u32. */
const headerLen = 20;
const attributes = defineAttributes({ kind: { id: 1, kind: "string" } });
/** Parents of filters by the discipline that they are in (linux/pkt_sched.h): TC_H_INGRESS, and clsact's two. */
const parents: ReadonlyMap<string, readonly number[]> = new Map([
  ["ingress", [0xffff_0000]],
  ["clsact", [0xffff_fff2, 0xffff_fff3]],
]);

/** A place on a link that can hold filters. */
export interface FilterPlace {
  link: number;
  parent: number;
}

const request = (type: number, place?: FilterPlace): Request => ({
  type,
  flags: messageFlag.dump,
  fill: (writer: Writer) => {
    const at = reserve(writer, headerLen);
    if (place === undefined) return;
    writer.bytes.writeInt32LE(place.link, at + 4);
    writer.bytes.writeUInt32LE(place.parent, at + 12);
  },
});

export const dumpQueuesRequest = (): Request => request(classifierMessage.getQueue);
export const dumpFiltersRequest = (place: FilterPlace): Request => request(classifierMessage.getFilter, place);

/** The places of a discipline that packets pass as they enter or leave the node by its link; none of any other. */
export function decodeQueue(body: Buffer): FilterPlace[] {
  const { link, kind } = decode(body);
  return (parents.get(kind) ?? []).map((parent) => ({ link, parent }));
}

/** Whether the filter is an eBPF program. */
export function isProgram(body: Buffer): boolean {
  return decode(body).kind === "bpf";
}

function decode(body: Buffer): { link: number; kind: string } {
  if (body.length < headerLen) throw malformed(`a filter of ${body.length} bytes`);
  const { kind = "" } = decodeAttributes(attributes, body.subarray(headerLen));
  return { link: body.readInt32LE(4), kind };
}

// Attachments as text in the state file: written as JSON, and checked when read, since a file can be damaged or foreign.

import { z } from "zod";
import type { Ip } from "../net/ip.ts";
import { cidr, ip, mac } from "../net/schema.ts";
import type { Attachment } from "./store.ts";

const wire = z.object({
  hostLink: z.string(),
  hostIndex: z.int(),
  podIndex: z.int(),
  hostMac: mac,
  podMac: mac,
  mtu: z.number(),
  routes: z.array(cidr).exactOptional(),
  subnets: z.array(z.object({ prefix: z.int(), gateway: ip.exactOptional() })).exactOptional(),
});

const delegate = z.object({
  type: z.string(),
  path: z.string(),
  env: z.record(z.string(), z.string()),
  stdin: z.string(),
});

// Keys of a later version are kept away, not refused: the file stays readable for the version before.
const schema = z.object({
  network: z.string(),
  containerId: z.string(),
  ifname: z.string(),
  addresses: z.array(ip),
  netnsPath: z.string(),
  wire: wire.exactOptional(),
  delegate: delegate.exactOptional(),
  pod: z.object({ namespace: z.string(), name: z.string(), uid: z.string().exactOptional() }).exactOptional(),
  labels: z.record(z.string(), z.string()).exactOptional(),
  createdMs: z.number(),
});

export function encodeRecord(attachment: Attachment): string {
  return JSON.stringify(attachment);
}

/** The file holds something that no attachment or address is. */
export class UnreadableRecord extends Error {}

/** @throws UnreadableRecord that says what is wrong with the text */
export function decodeRecord(text: string): Attachment {
  return readable(() => schema.parse(JSON.parse(text)));
}

/** An address as the state file holds it. @throws UnreadableRecord where it is none */
export function decodeIp(value: unknown): Ip {
  return readable(() => ip.parse(value));
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new UnreadableRecord("the state file holds a record that cannot be read", { cause });
  }
}

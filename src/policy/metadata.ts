// The cloud's metadata address: where it is, what of it gives credentials, and whether pods may have them.

import { present } from "../base/assert.ts";
import { type Ip, parseIp } from "../net/ip.ts";
import type { Layer, Model, Packet } from "./model.ts";
import { protocols } from "./port.ts";

export const metadataKey = "policy.metadata";

/**
 * IPv4 of all clouds that are known (AWS IMDS, GCE, Azure), IPv6 of AWS (Nitro instances) and of GCE. Only the port by which they give
 * credentials is closed: GCE resolves names and tells the time at the same address.
 */
export const metadataAddresses: readonly Ip[] = ["169.254.169.254", "fd00:ec2::254", "fd20:ce::254"].map((text) =>
  present(parseIp(text), text),
);
export const credentialsPort = 80;

const addresses: ReadonlySet<Ip> = new Set(metadataAddresses);

/** What judges it where the key closes it. */
const closed: Layer = {
  kind: "metadata",
  direction: "egress",
  id: `${metadataKey}: closed`,
  objects: [metadataKey],
  otherwise: "deny",
  rules: [],
};

/** The judgement on what a pod sends to the metadata address; undefined for any other packet. */
export function metadataJudgement(
  { destination, protocol, destinationPort }: Packet,
  { metadata = "open" }: Pick<Model, "metadata">,
): { layer: Layer } | { free: "metadata open" | "no credentials" } | undefined {
  if (!addresses.has(destination)) return undefined;
  if (metadata === "open") return { free: "metadata open" };
  const asksForCredentials = protocol === protocols.tcp && destinationPort === credentialsPort;
  return asksForCredentials ? { layer: closed } : { free: "no credentials" };
}

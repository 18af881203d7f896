// Fairlead as another plugin's IPAM: gives addresses and takes them back, and makes no interface.

import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import type { AttachmentResult, CniRequest } from "../cni/types.ts";
import { gatewayOf } from "../ipam/blocks.ts";
import type { Pool } from "../ipam/pool.ts";
import { attachmentKey } from "../ipam/store.ts";
import { type Cidr, cidrContains, cidrFamily, cidrPrefix, parseCidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import { attachmentIdOf, podOf, reserve } from "./attach.ts";
import type { PodPolicy } from "./policy/pod-policy.ts";

export interface LendDeps {
  pool: Pool;
  signal: AbortSignal;
  onDoomed: () => void;
  policy: PodPolicy;
}

const everything: { 4: Cidr; 6: Cidr } = {
  4: present(parseCidr("0.0.0.0/0"), "default route"),
  6: present(parseCidr("::/0"), "default route"),
};

/**
 * ADD: addresses with the prefix length and gateway of their block, as plugins that make a bridge need them, and default
 * routes. @throws Fault "interface-exists" where they were given already, "pool-empty", "address-taken", "unsupported-value"
 */
export async function lend(request: CniRequest, deps: LendDeps): Promise<AttachmentResult> {
  const { pool } = deps;
  const id = attachmentIdOf(request);
  const small = pool.blocks().find((block) => gatewayOf(block) === undefined);
  if (small !== undefined) {
    throw new Fault(
      "unsupported-value",
      `the block ${small} has no address to spare for a gateway; lend from larger ones`,
    );
  }
  if (pool.find(id) !== undefined) {
    throw new Fault("interface-exists", `${attachmentKey(id)} has addresses already; DEL it first`);
  }
  const attachment = await reserve({ ...id, netnsPath: request.netns ?? "", ...podOf(request) }, request.wishes, deps);
  try {
    const result = lentResult(attachment.addresses, pool.blocks(), request); // as they are after the wait
    pool.journal(attachment);
    pool.confirm(attachment);
    return result;
  } catch (error) {
    pool.release(attachment, { cool: false });
    throw error;
  }
}

function lentResult(addresses: readonly Ip[], blocks: readonly Cidr[], { wishes }: CniRequest): AttachmentResult {
  const ips = addresses.map((address) => {
    const block = present(
      blocks.find((candidate) => cidrContains(candidate, address)),
      `block of ${address}`,
    );
    return { address, prefix: cidrPrefix(block), gateway: present(gatewayOf(block), `gateway of ${block}`) };
  });
  const families = ([4, 6] as const).filter((family) => blocks.some((block) => cidrFamily(block) === family));
  return {
    interfaces: [],
    ips,
    routes: families.map((family) => ({ to: everything[family] })),
    ...(wishes.dns === undefined ? {} : { dns: wishes.dns }),
  };
}

/** CHECK: the addresses are still this attachment's, and what the runtime believes. @throws Fault "check-failed" */
export function checkLent(request: CniRequest, { pool }: LendDeps): void {
  const id = attachmentIdOf(request);
  const held = pool.find(id);
  if (held === undefined || held.leaving) {
    throw new Fault("check-failed", `${attachmentKey(id)} has no address on this node: it is not reserved`);
  }
  const claimed = new Set(request.prevResult?.ips.map(({ address }) => address));
  const missing = held.attachment.addresses.filter((address) => !claimed.has(address));
  if (missing.length === 0) return;
  throw new Fault("check-failed", `prevResult does not list ${missing.join(", ")}, which ${attachmentKey(id)} holds`);
}

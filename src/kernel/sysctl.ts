// Settings under /proc/sys/net, with failures that name the key and the value.

import { Fault } from "../base/fault.ts";
import type { Addon, Descriptor } from "./addon.ts";
import { addonFault } from "./netlink/message.ts";

/** Most keys of one call; the agent has a dozen. */
export const sysctlsMax = 256;

/**
 * Writes the values in order, each as `netns` sees its key; the first that fails stops the rest.
 * @throws Fault "kernel-missing" for a key that is not there, "kernel-refused" for a value that the kernel does not take
 */
export async function writeSysctls(
  addon: Addon,
  netns: Descriptor,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const keys = Object.keys(values);
  checkCount(keys.length);
  try {
    await addon.writeSysctls(netns, keys, Object.values(values));
  } catch (cause) {
    const at = cause instanceof Error && "index" in cause && typeof cause.index === "number" ? cause.index : undefined;
    const key = at === undefined ? undefined : keys[at];
    const what =
      key === undefined ? `sysctls ${keys.join(", ")}` : `sysctl net/${key} = ${JSON.stringify(values[key])}`;
    throw addonFault(what, cause);
  }
}

/** Reads the values, undefined for a key that this kernel or namespace does not have. */
export async function readSysctls(
  addon: Addon,
  netns: Descriptor,
  keys: readonly string[],
): Promise<(string | undefined)[]> {
  checkCount(keys.length);
  try {
    return await addon.readSysctls(netns, keys);
  } catch (cause) {
    throw addonFault(`sysctls ${keys.join(", ")}`, cause);
  }
}

function checkCount(count: number): void {
  if (count > sysctlsMax) throw new Fault("kernel-refused", `${count} sysctls in one call; at most ${sysctlsMax}`);
}

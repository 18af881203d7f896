// Labels that a caller gives a sandbox: `args.cni.labels` of the CNI conventions. Pure.

import { Fault } from "../base/fault.ts";
import { isJsonObject, nameOf, own } from "./json.ts";
import type { NetConfig } from "./types.ts";

/** Most labels of one sandbox. */
export const labelsMax = 64;

/**
 * `[{ "key": "app", "value": "web" }]`, later ones of a key first; none where nothing is said.
 * @throws Fault "unsupported-value" for what is no such list
 */
export function labelsOf({ args = {} }: Pick<NetConfig, "args">): Record<string, string> {
  const cni = own(args, "cni");
  const list = (isJsonObject(cni) ? own(cni, "labels") : undefined) ?? [];
  if (!Array.isArray(list) || list.length > labelsMax) throw refused(list, `is no list of at most ${labelsMax} labels`);
  return Object.fromEntries(
    list.map((entry: unknown) => {
      const [key, value] = isJsonObject(entry) ? [own(entry, "key"), own(entry, "value")] : [];
      if (typeof key !== "string" || typeof value !== "string") throw refused(entry, "has no text as key and value");
      return [key, value];
    }),
  );
}

function refused(value: unknown, why: string): Fault {
  return new Fault("unsupported-value", `args.cni.labels: ${nameOf(value)} ${why}`);
}

// The network configuration on standard input: what must be in it, and which version of the protocol it speaks.

import { Fault } from "../base/fault.ts";
import { isName } from "./environment.ts";
import { isJsonObject, nameOf, own, parseJsonObject } from "./json.ts";
import {
  atLeast,
  type CniVersion,
  type JsonObject,
  type NetConfig,
  newestVersion,
  supportedVersions,
  type ValidAttachment,
  type Verb,
} from "./types.ts";

/** Longest network name, in bytes. */
export const networkNameLengthMax = 200;
/** Most attachments in the list that GC gets: far above what one node can have. */
export const validAttachmentsMax = 16_384;

/** The version in which each verb came, where that is not the first. */
const sinceVersion: Partial<Record<Verb, CniVersion>> = { CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" };

/**
 * Reads the configuration for `verb`. Unknown keys are kept and not judged.
 * @throws Fault "bad-json", then "bad-network-config" (name, type, version of a wrong kind), then "cni-version" (unknown, or too old for the verb)
 */
export function parseNetConfig(stdin: Uint8Array, verb: Verb): NetConfig {
  const raw = parseJsonObject(stdin, "the network configuration on stdin");
  const name = parseName(own(raw, "name"));
  const type = own(raw, "type") ?? "";
  if (typeof type !== "string") throw badConfig(`type must be text, not ${nameOf(type)}`);
  const cniVersion = parseVersion(own(raw, "cniVersion"));
  const since = sinceVersion[verb];
  if (since !== undefined && !atLeast(cniVersion, since)) {
    throw new Fault(
      "cni-version",
      `${verb} needs cniVersion ${since} or later; the network configuration has ${cniVersion}`,
    );
  }
  return { name, cniVersion, type, ...objectsOf(raw), raw };
}

/** The version to answer a request in that could not be read wholly: its own if it has a good one, else the newest. */
export function replyVersion(stdin: Uint8Array): CniVersion {
  try {
    return parseVersion(own(parseJsonObject(stdin, "stdin"), "cniVersion"));
  } catch {
    return newestVersion;
  }
}

/**
 * The attachments that GC must keep: the specification's key, else the one that older runtimes send.
 * Undefined where neither is there or it is null, which means "remove nothing".
 * @throws Fault "bad-network-config" where the list is not wholly readable: half a list would remove living pods.
 */
export function parseValidAttachments(raw: JsonObject): ValidAttachment[] | undefined {
  const key = ["cni.dev/valid-attachments", "cni.dev/attachments"].find((key) => (own(raw, key) ?? null) !== null);
  if (key === undefined) return undefined;
  const list = own(raw, key);
  if (!Array.isArray(list)) throw badConfig(`${key} must be an array, not ${nameOf(list)}`);
  if (list.length > validAttachmentsMax) {
    throw badConfig(`${key} has ${list.length} entries; at most ${validAttachmentsMax} are read`);
  }
  return list.map((entry: unknown, index) => {
    const containerId = isJsonObject(entry) ? own(entry, "containerID") : undefined;
    const ifname = isJsonObject(entry) ? own(entry, "ifname") : undefined;
    if (typeof containerId !== "string" || typeof ifname !== "string") {
      throw badConfig(`${key}[${index}] must be an object with the texts containerID and ifname`);
    }
    return { containerId, ifname };
  });
}

export function badConfig(why: string, cause?: unknown): Fault {
  return new Fault("bad-network-config", `network configuration: ${why}`, { cause });
}

function parseName(name: unknown): string {
  if (name === undefined || name === "") throw badConfig("missing network name");
  if (typeof name !== "string") throw badConfig(`name must be text, not ${nameOf(name)}`);
  if (name.length > networkNameLengthMax)
    throw badConfig(`name ${nameOf(name)} is longer than ${networkNameLengthMax} characters`);
  if (!isName(name))
    throw badConfig(`name ${nameOf(name)} must be a letter or digit, then letters, digits, "_", "." or "-"`);
  return name;
}

function parseVersion(version: unknown): CniVersion {
  if (version === undefined || version === null || version === "") return "0.1.0";
  if (typeof version !== "string") throw badConfig(`cniVersion must be text, not ${nameOf(version)}`);
  const supported = supportedVersions.find((known) => known === version);
  if (supported === undefined) {
    throw new Fault(
      "cni-version",
      `cniVersion ${nameOf(version)} is not supported; supported are ${supportedVersions.join(", ")}`,
    );
  }
  return supported;
}

function objectsOf(
  raw: JsonObject,
): Pick<NetConfig, "ipam" | "runtimeConfig" | "args" | "capabilities" | "prevResult"> {
  const found: ReturnType<typeof objectsOf> = {};
  for (const key of ["ipam", "runtimeConfig", "args", "capabilities", "prevResult"] as const) {
    const value = own(raw, key);
    if (isJsonObject(value)) found[key] = value;
  }
  return found;
}

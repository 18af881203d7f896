// One request as a whole: environment first, then standard input, in the order in which callers expect to hear of errors.

import { Fault } from "../base/fault.ts";
import { pluginType } from "./conflist.ts";
import { missingVariables, parseEnvironment } from "./environment.ts";
import { nameOf, own } from "./json.ts";
import { badConfig, parseNetConfig, parseValidAttachments, replyVersion } from "./netconf.ts";
import { parseResult } from "./prev-result.ts";
import { parseWishes } from "./wishes.ts";
import type { AttachmentResult, CniRequest, NetConfig, VersionRequest } from "./types.ts";

/** Longest "network/container/interface" in bytes: 15 less than the alias of a link holds, which is where it is written. */
export const attachmentNameLengthMax = 240;

export interface RawRequest {
  env: ReadonlyMap<string, string>;
  stdin: Uint8Array;
}

/**
 * Reads and checks a whole request. Touches nothing: whether paths lead anywhere is for the caller to see.
 * @throws Fault "bad-environment", "unsupported-value", "bad-json", "bad-network-config", "cni-version"
 */
export function parseRequest({ env, stdin }: RawRequest): CniRequest | VersionRequest {
  const environment = parseEnvironment(env);
  const { verb } = environment;
  if (verb === "VERSION") return { verb, cniVersion: replyVersion(stdin) };
  const config = parseNetConfig(stdin, verb);
  const ipam = ipamOf(config);
  if (ipam.delegate !== undefined && environment.path === "") throw missingVariables(["CNI_PATH"]);
  const request: CniRequest = {
    ...environment,
    verb,
    config,
    ...ipam,
    // Only ADD is asked for anything: what it refused must still be removable.
    wishes:
      verb === "ADD"
        ? parseWishes(config, environment.args, { chooses: ipam.delegate === undefined })
        : { addresses: [], ranges: [] },
    raw: { env, stdin },
  };
  if (request.containerId !== "") checkNameLength(request);
  const prevResult = parsePrevResult(verb, config);
  if (prevResult !== undefined) request.prevResult = prevResult;
  const validAttachments = verb === "GC" ? parseValidAttachments(config.raw) : undefined;
  if (validAttachments !== undefined) request.validAttachments = validAttachments;
  return request;
}

/** Who chooses the addresses, by the key `ipam.type`; no such key, or our own name, means Fairlead. */
function ipamOf({ type, ipam = {} }: NetConfig): Pick<CniRequest, "role" | "delegate"> {
  const chooser = own(ipam, "type") ?? "";
  if (typeof chooser !== "string") throw badConfig(`ipam.type must be text, not ${nameOf(chooser)}`);
  if (chooser === pluginType && type !== pluginType) return { role: "ipam" };
  if (chooser === "" || chooser === pluginType) return { role: "interface" };
  if (chooser.includes("/") || chooser === "." || chooser === "..") {
    throw badConfig(`ipam.type ${nameOf(chooser)} must be the file name of a plugin`);
  }
  return { role: "interface", delegate: chooser };
}

function checkNameLength({ config, containerId, ifname }: CniRequest): void {
  const length = new TextEncoder().encode(`${config.name}/${containerId}/${ifname}`).length;
  if (length > attachmentNameLengthMax) {
    throw new Fault(
      "bad-environment",
      `network name, CNI_CONTAINERID and CNI_IFNAME have ${length} bytes together; at most ${attachmentNameLengthMax} fit the alias of a link`,
    );
  }
}

/** ADD passes it on, CHECK compares with it, DEL must succeed whatever it holds, GC and STATUS have none. */
function parsePrevResult(verb: CniRequest["verb"], { raw }: NetConfig): AttachmentResult | undefined {
  if (verb === "GC" || verb === "STATUS") return undefined;
  const value = own(raw, "prevResult") ?? undefined;
  if (value === undefined) {
    if (verb === "CHECK") throw badConfig("prevResult is missing, and CHECK compares with it");
    return undefined;
  }
  try {
    return parseResult(value);
  } catch (error) {
    if (verb === "DEL" && error instanceof Fault) return undefined;
    throw error;
  }
}

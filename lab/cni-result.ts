// What a runtime reads from a plugin's stdout: the result of ADD, checked against the request, and the error object.

import { z } from "zod";
import { Fault } from "../src/base/fault.ts";
import { parseInterfaceAddress } from "../src/net/cidr.ts";
import { ipFamily } from "../src/net/ip.ts";
import { failureText, type Outcome } from "./exec.ts";
import { readJson } from "./json.ts";
import type { Addresses } from "./layout.ts";

const interfaceAddress = z.string().transform((text, context) => {
  const parsed = parseInterfaceAddress(text);
  if (parsed !== undefined) return parsed;
  context.addIssue(`"${text}" is no address with a prefix`);
  return z.NEVER;
});

const resultSchema = z.object({
  cniVersion: z.string(),
  interfaces: z.array(z.object({ name: z.string(), sandbox: z.string().optional() })),
  ips: z.array(z.object({ address: interfaceAddress, interface: z.int() })).min(1, "an ADD gives at least one address"),
});

const errorSchema = z.object({ code: z.int(), msg: z.string(), details: z.string().optional() });

/** The result of ADD: what it says, and the text itself, which goes back to the plugin unchanged as prevResult. */
export interface CniResult {
  text: string;
  /** The pod's addresses, the first of each family. */
  addresses: Addresses;
}

/**
 * Reads the result of ADD and checks what a runtime relies on: the request's version, eth0 in the pod, every address on it.
 * @throws Fault "lab-failed" with what is wrong.
 */
export function readResult(text: string, request: { cniVersion: string; netns: string }): CniResult {
  const { cniVersion, interfaces, ips } = readJson(resultSchema, text, "the result of ADD");
  if (cniVersion !== request.cniVersion) throw wrong(`has cniVersion ${cniVersion}, asked was ${request.cniVersion}`);
  const inPod = interfaces.flatMap(({ name, sandbox }, index) =>
    name === "eth0" && sandbox === request.netns ? [index] : [],
  );
  if (inPod.length !== 1) throw wrong(`names eth0 with sandbox ${request.netns} ${inPod.length} times instead of once`);
  for (const ip of ips) {
    if (ip.interface === inPod[0]) continue;
    throw wrong(`puts ${ip.address.address} on interface ${ip.interface}, which is not the pod's eth0`);
  }
  const pairs = ips.map(({ address: { address } }) => [ipFamily(address), address] as const);
  return { text, addresses: Object.fromEntries(pairs.toReversed()) };
}

/** The error of a failed execution: the plugin's error object where it printed one, else whatever it said. */
export function failedCall(what: string, outcome: Outcome): Fault {
  try {
    const { code, msg, details = "" } = readJson(errorSchema, outcome.stdout, "the error object");
    return new Fault("lab-failed", `${what} failed with code ${code}: ${msg}${details === "" ? "" : ` (${details})`}`);
  } catch {
    return new Fault("lab-failed", `${what} failed without an error object: ${failureText(outcome)}`);
  }
}

function wrong(message: string): Fault {
  return new Fault("lab-failed", `the result of ADD ${message}`);
}

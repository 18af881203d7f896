// The CNI_* variables: one table of which verb needs which, what each may hold, and what is said where it does not.

import { Fault } from "../base/fault.ts";
import { type CniArgs, type CniEnvironment, type Verb, verbs } from "./types.ts";
import { quote } from "./quote.ts";

/** Longest container id in bytes: it must fit, with network and interface name, into the alias of a link (255 bytes). */
export const containerIdLengthMax = 192;
/** Longest interface name in bytes: the kernel's IFNAMSIZ without its final zero. */
export const ifnameLengthMax = 15;
/** Longest path of a network namespace: the kernel's PATH_MAX without its final zero. */
export const netnsLengthMax = 4095;
/** Longest CNI_ARGS, in characters. */
export const argsLengthMax = 4096;
/** Longest value of one pair in CNI_ARGS: the longest name in Kubernetes. */
export const argLengthMax = 253;

interface Variable {
  name: string;
  neededBy: readonly Verb[];
  /** Verbs for which a present value must be good; any other verb ignores the variable. */
  checkedFor: readonly Verb[];
  /** @throws Fault where the value is bad. */
  check: (value: string) => void;
}

const ofOneContainer: readonly Verb[] = ["ADD", "DEL", "CHECK"];

/**
 * In the order in which the common library looks at them; CNI_COMMAND stands before them all. CNI_PATH is demanded only
 * where the specification does: we run no other plugin. CNI_NETNS_OVERRIDE is deliberately not read: it would let a
 * caller have us set up the node's own namespace as if it were a pod's.
 */
const variables: readonly Variable[] = [
  { name: "CNI_CONTAINERID", neededBy: ofOneContainer, checkedFor: ofOneContainer, check: checkContainerId },
  { name: "CNI_NETNS", neededBy: ["ADD", "CHECK"], checkedFor: ["ADD", "CHECK"], check: checkNetns },
  { name: "CNI_IFNAME", neededBy: ofOneContainer, checkedFor: ofOneContainer, check: checkIfname },
  // DEL does not read them, so that what ADD refused can still be cleaned up.
  { name: "CNI_ARGS", neededBy: [], checkedFor: ["ADD", "CHECK"], check: (value) => void parseArgs(value) },
  { name: "CNI_PATH", neededBy: ["GC"], checkedFor: [], check: () => {} },
];

/**
 * Reads the environment: first what is there must be good, then nothing that the verb needs may be missing. An empty
 * variable counts as missing.
 * @throws Fault "bad-environment"
 */
export function parseEnvironment(env: ReadonlyMap<string, string>): CniEnvironment {
  const verb = verbOf(env.get("CNI_COMMAND") ?? "");
  const missing: string[] = [];
  for (const { name, neededBy, checkedFor, check } of variables) {
    const value = env.get(name) ?? "";
    if (value !== "" && checkedFor.includes(verb)) check(value);
    if (value === "" && neededBy.includes(verb)) missing.push(name);
  }
  if (missing.length > 0) throw missingVariables(missing);
  const about = (name: string): string => (ofOneContainer.includes(verb) ? (env.get(name) ?? "") : "");
  const netns = about("CNI_NETNS");
  return {
    verb,
    containerId: about("CNI_CONTAINERID"),
    // DEL gets by without a path, and so without a bad one.
    ...(netnsProblem(netns) === undefined ? { netns } : {}),
    ifname: about("CNI_IFNAME"),
    path: env.get("CNI_PATH") ?? "",
    args: verb === "ADD" || verb === "CHECK" ? parseArgs(env.get("CNI_ARGS") ?? "") : {},
  };
}

/** True for what container ids and network names are made of: a letter or digit, then letters, digits, "_", "." and "-". */
export function isName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text);
}

function verbOf(command: string): Verb {
  if (command === "") throw missingVariables(["CNI_COMMAND"]);
  const verb = verbs.find((known) => known === command);
  if (verb === undefined) {
    throw new Fault("bad-environment", `unknown CNI_COMMAND: ${quote(command)}; known are ${verbs.join(", ")}`);
  }
  return verb;
}

/** The error for variables that a verb needs and that are not there. */
export function missingVariables(names: readonly string[]): Fault {
  return new Fault("bad-environment", `required environment variables [${names.join(",")}] missing`);
}

function checkContainerId(value: string): void {
  if (value.length > containerIdLengthMax) {
    throw bad("CNI_CONTAINERID", value, `is longer than ${containerIdLengthMax} characters`);
  }
  if (!isName(value)) {
    throw bad("CNI_CONTAINERID", value, `must be a letter or digit, then letters, digits, "_", "." or "-"`);
  }
}

function checkNetns(value: string): void {
  const problem = netnsProblem(value);
  if (problem !== undefined) throw bad("CNI_NETNS", value, problem);
}

function netnsProblem(path: string): string | undefined {
  // The path is opened by the agent, whose working directory is not the caller's.
  if (!path.startsWith("/")) return "must be an absolute path";
  if (path.length > netnsLengthMax) return `is longer than ${netnsLengthMax} characters`;
  return path.includes("\0") ? "has a zero byte in it" : undefined;
}

function checkIfname(value: string): void {
  const bytes = new TextEncoder().encode(value);
  if (bytes.length > ifnameLengthMax) throw bad("CNI_IFNAME", value, `is longer than ${ifnameLengthMax} bytes`);
  if (value === "." || value === "..") throw bad("CNI_IFNAME", value, "is no interface name");
  // The kernel looks at single bytes, and takes 0xa0, which is part of many letters in UTF-8, for a space.
  if (/[/:\0\p{White_Space}]/u.test(value) || bytes.includes(0xa0)) {
    throw bad("CNI_IFNAME", value, `has "/", ":" or white space in it`);
  }
  if (value.includes("%")) throw bad("CNI_IFNAME", value, `has "%" in it, for which the kernel makes up a name`);
  if (value.includes("\ufffd")) throw bad("CNI_IFNAME", value, "is not UTF-8");
}

const knownArgs = ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID", "K8S_POD_INFRA_CONTAINER_ID"] as const;

/**
 * Reads CNI_ARGS, "K=V;K=V". A key that we do not know is an error unless IgnoreUnknown is 1 or true; of a key given twice the last value holds.
 * @throws Fault "bad-environment"
 */
function parseArgs(text: string): CniArgs {
  if (text === "") return {};
  if (text.length > argsLengthMax) throw bad("CNI_ARGS", text, `is longer than ${argsLengthMax} characters`);
  const args: CniArgs = {};
  const unknown: string[] = [];
  let ignoreUnknown = false;
  for (const pair of text.split(";")) {
    const [key = "", value, ...rest] = pair.split("=");
    if (value === undefined || rest.length > 0)
      throw bad("CNI_ARGS", pair, "must be KEY=VALUE pairs with ; between them");
    const known = knownArgs.find((name) => name === key);
    if (known !== undefined) {
      if (value === "") delete args[known];
      else args[known] = checkArg(known, value);
    } else if (key === "IgnoreUnknown") ignoreUnknown = parseBoolean(pair, value);
    else if ((key === "IP" || key === "MAC") && value !== "") args[key] = value;
    else unknown.push(key);
  }
  if (unknown.length > 0 && !ignoreUnknown) {
    throw bad("CNI_ARGS", unknown.join(","), "is not known; add IgnoreUnknown=1 to have unknown keys passed over");
  }
  return args;
}

function checkArg(key: string, value: string): string {
  if (value.length > argLengthMax || !isName(value)) {
    throw bad(
      "CNI_ARGS",
      `${key}=${value}`,
      `must be a name of at most ${argLengthMax} letters, digits, "_", "." or "-"`,
    );
  }
  return value;
}

function parseBoolean(pair: string, value: string): boolean {
  const lower = value.toLowerCase();
  if (lower === "1" || lower === "true") return true;
  if (lower === "0" || lower === "false") return false;
  throw bad("CNI_ARGS", pair, "must be 1, true, 0 or false");
}

function bad(variable: string, value: string, why: string): Fault {
  return new Fault("bad-environment", `${variable} ${quote(value)} ${why}`, { data: { variable } });
}

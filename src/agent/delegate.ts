// Another plugin as our IPAM: executed as the specification has it, with the environment and standard input that we were given.

import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { parseJsonObject, own } from "../cni/json.ts";
import { parseResult } from "../cni/prev-result.ts";
import { clip } from "../cni/quote.ts";
import type { CniRequest, ResultDns, Verb } from "../cni/types.ts";
import type { Delegate, GivenSubnet } from "../ipam/store.ts";
import type { Cidr } from "../net/cidr.ts";
import { type Ip, ipFamily, isGlobalUnicast } from "../net/ip.ts";

/** A plugin that runs longer is killed; within the time that the caller's own plugin waits for us. */
const delegateMsMax = 15_000;
const outputLenMax = 1024 * 1024;
/** Directories looked at on CNI_PATH. */
const directoriesMax = 64;
/** Addresses and routes of one interface. */
const addressesMax = 16;
const routesMax = 64;

/** All that a plugin's program needs beside the protocol's own variables. */
const programPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export interface DelegateDeps {
  log: Log;
}

export interface DelegateAnswer {
  delegate: Delegate;
  addresses: Ip[];
  /** Of each address. */
  subnets: GivenSubnet[];
  /** Beside the default routes, which our interfaces have anyway. */
  routes: Cidr[];
  dns?: ResultDns;
}

/** What the plugin has to be told, now or at DEL. */
export function delegateOf({ path, raw }: CniRequest, type: string): Delegate {
  return {
    type,
    path,
    env: Object.fromEntries([...raw.env].filter(([name]) => name !== "CNI_PATH" && name !== "CNI_COMMAND")),
    stdin: Buffer.from(raw.stdin).toString("utf8"),
  };
}

/**
 * Asks the plugin for addresses. Where that fails, or gives what we cannot use, it has been told DEL when this throws, as the
 * specification demands (CNI 1.1, section 4).
 * @throws Fault "delegate-failed" with the plugin's own words
 */
export async function delegateAdd(request: CniRequest, type: string, deps: DelegateDeps): Promise<DelegateAnswer> {
  const delegate = delegateOf(request, type);
  try {
    return { delegate, ...readAnswer(await callDelegate("ADD", delegate), type) };
  } catch (error) {
    if (!isFault(error, "delegate-missing")) {
      await callDelegate("DEL", delegate).catch((undoing: unknown) =>
        deps.log.error({ delegate: type, error: describe(undoing) }, "DEL after a failed ADD failed too"),
      );
    }
    throw error;
  }
}

function readAnswer(stdout: string, type: string): Omit<DelegateAnswer, "delegate"> {
  const { ips, routes, dns } = parseResult(
    parseJsonObject(Buffer.from(stdout), `the result of ${type}`),
    `the result of ${type}`,
  );
  const addresses = ips.map(({ address }) => address);
  const useless = addresses.find((address) => !isGlobalUnicast(address));
  if (useless !== undefined) throw failed(type, `it gave ${useless}, which no pod can have`);
  if (addresses.length === 0) throw failed(type, "it gave no address");
  if (new Set(addresses).size < addresses.length) throw failed(type, "it gave one address twice");
  if (addresses.length > addressesMax || routes.length > routesMax) {
    throw failed(type, `it gave more than ${addressesMax} addresses or ${routesMax} routes`);
  }
  const subnets = ips.map(({ prefix, gateway }) => ({ prefix, ...(gateway === undefined ? {} : { gateway }) }));
  const lost = ips.find(({ address, gateway }) => gateway !== undefined && ipFamily(gateway) !== ipFamily(address));
  if (lost !== undefined) throw failed(type, `the gateway ${lost.gateway} of ${lost.address} is of the other family`);
  const shared = ips.find(({ gateway }) => gateway !== undefined && addresses.includes(gateway));
  if (shared !== undefined) throw failed(type, `${shared.gateway} is both an address and the gateway`);
  const further = [...new Set(routes.map(({ to }) => to))].filter((to) => !to.endsWith("/0"));
  return { addresses, subnets, routes: further, ...(dns === undefined ? {} : { dns }) };
}

/**
 * Runs the plugin for `verb` and gives what it printed.
 * @throws Fault "delegate-missing" where it is not on CNI_PATH; "delegate-failed" with its code and words, or why it could not run
 */
export async function callDelegate(verb: Verb, { type, path, env, stdin }: Delegate): Promise<string> {
  const file = await find(type, path);
  const { code, stdout, stderr } = await run(
    file,
    { ...env, CNI_COMMAND: verb, CNI_PATH: path, PATH: programPath },
    stdin,
  );
  if (code === 0) return stdout;
  throw refusal(verb, type, stdout) ?? failed(type, `${verb} failed: ${clip(stderr.trim() || String(code), 1000)}`);
}

async function find(type: string, path: string): Promise<string> {
  for (const directory of path.split(":").slice(0, directoriesMax)) {
    if (!directory.startsWith("/")) continue; // our working directory is not the caller's
    const file = join(directory, type);
    const status = await stat(file).catch(() => undefined);
    if (status?.isFile() !== true) continue;
    await access(file, constants.X_OK).catch((cause: unknown) => {
      throw new Fault("delegate-missing", `the IPAM plugin ${file} may not be executed`, { cause });
    });
    return file;
  }
  throw new Fault("delegate-missing", `the IPAM plugin ${type} is on no directory of CNI_PATH (${clip(path, 500)})`);
}

interface Ended {
  /** Exit code, or the name of the signal. */
  code: number | string;
  stdout: string;
  stderr: string;
}

function run(file: string, env: Record<string, string>, stdin: string): Promise<Ended> {
  return new Promise((done) => {
    const options = { env, cwd: "/", timeout: delegateMsMax, killSignal: "SIGKILL", maxBuffer: outputLenMax } as const;
    const child = execFile(file, [], options, (error, stdout, stderr) => {
      if (error === null) return done({ code: 0, stdout, stderr });
      const late = error.killed === true ? `it did not end within ${delegateMsMax / 1000} s` : undefined;
      done({ code: late ?? error.code ?? error.signal ?? "an unknown status", stdout, stderr });
    });
    child.stdin?.on("error", () => {}); // a plugin may end without reading its input
    child.stdin?.end(stdin);
  });
}

/** The error object that a plugin prints, in its own words and with its own code. */
function refusal(verb: Verb, type: string, stdout: string): Fault | undefined {
  try {
    const object = parseJsonObject(Buffer.from(stdout), "the error");
    const [code, message, details] = [own(object, "code"), own(object, "msg"), own(object, "details")];
    if (typeof message !== "string") return undefined;
    const more = typeof details === "string" && details !== "" ? `: ${details}` : "";
    const cniCode = typeof code === "number" && Number.isInteger(code) && code > 0 ? { cniCode: code } : {};
    return new Fault("delegate-failed", `IPAM plugin ${type}: ${verb} failed: ${clip(message + more, 2000)}`, {
      data: { type, ...cniCode },
    });
  } catch {
    return undefined; // it is none: whatever it says on stderr must do
  }
}

function failed(type: string, why: string): Fault {
  return new Fault("delegate-failed", `IPAM plugin ${type}: ${why}`, { data: { type } });
}

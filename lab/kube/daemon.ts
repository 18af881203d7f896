// The API server as a daemon of a lab: in the namespace of one of its machines, with its file, log and control socket in a directory.

import { mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { Fault } from "../../src/base/fault.ts";
import { type Daemon, startDaemon } from "../daemon.ts";
import type { Lab } from "../record.ts";

const program = fileURLToPath(new URL("main.ts", import.meta.url));
const readyWithinMs = 20_000;
const commandWithinMs = 10_000;
/** SIGTERM to SIGKILL. */
const endWithinMs = 10_000;

export interface ApiDaemonOptions {
  /** Network namespace that it listens in. */
  netns: string;
  /** Made if it is not there. Its objects stay there over a restart. */
  directory: string;
  /** An address of that namespace. */
  host: string;
  port: number;
  tls?: { cert: string; key: string; clientCa?: string };
  /** Bearer tokens that are valid from the start, each with its user. */
  tokens: Readonly<Record<string, { name: string; groups?: readonly string[] }>>;
}

export interface ApiDaemon extends Daemon {
  readonly url: string;
  /** A unix socket for orders: what `order` uses. */
  readonly control: string;
  /** Gives an order (control.ts has the list) and its answer. @throws Fault "lab-failed" with what the server said against it */
  order(name: string, argument?: object): Promise<string>;
  /** Ends it in order, its objects kept. */
  stop(): Promise<void>;
}

/** Starts the server; on return it answers. */
export async function startApiDaemon(lab: Lab, options: ApiDaemonOptions): Promise<ApiDaemon> {
  const { netns, directory, host, port, tls, tokens } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const control = `${directory}/control.sock`;
  const config = { host, port, tls, tokens, control, file: `${directory}/objects.json` };
  const configFile = `${directory}/api-server.yaml`;
  writeFileSync(configFile, stringify(config), { mode: 0o600 });
  const daemon = await startDaemon(lab, {
    name: "api-server",
    netns,
    program: process.execPath,
    args: [program, configFile],
    logFile: `${directory}/api-server.log`,
    tellsReady: true,
  });
  await daemon.untilReady(readyWithinMs);
  return {
    ...daemon,
    url: `${tls === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`,
    control,
    order: (name, argument) => order(control, name, argument),
    stop: async () => {
      const how = await daemon.end(endWithinMs);
      if (how !== 0) throw new Fault("lab-failed", `the API server did not stop in order but ended with ${how}`);
    },
  };
}

function order(socketPath: string, name: string, argument: object = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const refuse = (why: string, cause?: unknown): void =>
      reject(new Fault("lab-failed", `the API server did not follow the order ${name}: ${why}`, { cause }));
    const signal = AbortSignal.timeout(commandWithinMs);
    const asked = request({ socketPath, path: `/${name}`, method: "POST", signal }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.once("end", () => (response.statusCode === 200 ? resolve(text) : refuse(text)));
    });
    asked.once("error", (error) => refuse(error.message, error));
    asked.end(JSON.stringify(argument));
  });
}

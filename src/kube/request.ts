// One call over HTTP: its time limits, its tries, the bound of its answer, and a fault for everything that can go wrong.

import { randomInt } from "node:crypto";
import { type Dispatcher, Pool } from "undici";
import { Fault, isFault } from "../base/fault.ts";
import { pause } from "../base/pause.ts";
import { isDeeperThan } from "../cni/json.ts";
import { clip } from "../cni/quote.ts";
import { type KubeAddress, serverUrl } from "./address.ts";
import { createCredentials } from "./credentials.ts";
import { limited, TimeOver } from "./time-limit.ts";
import { answerDepthMax, type Limits } from "./limits.ts";
import { statusFault } from "./status.ts";

export interface Call {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Already encoded, without query. */
  path: string;
  query?: Readonly<Record<string, string | undefined>>;
  /** Sent as JSON under this content type. */
  body?: { type: string; value: unknown };
  signal?: AbortSignal | undefined;
}

export interface Transport {
  /** The whole answer of a call that succeeded. */
  bytes(call: Call): Promise<Buffer>;
  /** The same, as JSON. */
  json(call: Call): Promise<unknown>;
  /** The answer as it comes, for as long as `call.signal` does not abort. The time limit ends with its first byte. */
  stream(call: Call): Promise<AsyncIterable<Buffer>>;
  close(): Promise<void>;
}

/** Bytes read of an answer that says no. */
const refusalLenMax = 64 * 1024;
/** Longest path in a message. */
const pathShownMax = 200;
/** A wait without a figure: 429 and 503 with a Retry-After that is no number of seconds. */
const retryAfterDefaultMs = 1000;
/** How long a connection is kept without a call; kube-apiserver ends its own after 90 s. */
const keepAliveMs = 30_000;

/** What a fault calls a call. */
export const nameOfCall = ({ method, path }: Pick<Call, "method" | "path">): string =>
  `${method} ${clip(path, pathShownMax)}`;

/** Makes the client of `address`; nothing is connected or read before the first call. @throws Fault "bad-config" */
export function createTransport(address: KubeAddress, userAgent: string, limits: Limits): Transport {
  const url = serverUrl(address);
  const base = url.pathname.replace(/\/+$/, "");
  const credentials = createCredentials(address, limits.connectMs);
  const pool = (connections: number): Pool =>
    new Pool(url.origin, {
      connections,
      allowH2: false,
      connect: credentials.connector,
      // Both limits are kept by `limited` and by the reader of a watch, which know what the time is for.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: keepAliveMs,
      clientTtl: limits.connectionMs,
    });
  const calls = pool(limits.callConnectionsMax);
  const watches = pool(limits.watchConnectionsMax);
  let underWay = 0;

  /** One try. Gives an answer that says yes, its body not yet read. */
  async function send(on: Pool, call: Call, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const authorization = credentials.authorization();
    const response = await on.request({
      method: call.method,
      path: `${base}${call.path}${queryText(call.query)}`,
      headers: {
        accept: "application/json",
        "user-agent": userAgent,
        ...(authorization === undefined ? {} : { authorization }),
        ...(call.body === undefined ? {} : { "content-type": call.body.type }),
      },
      body: call.body === undefined ? null : JSON.stringify(call.body.value),
      signal,
    });
    response.body.on("error", () => undefined); // whoever reads it is told; nobody may read it any more
    if (response.statusCode >= 200 && response.statusCode < 300) return response;
    const words = (await readAll(response.body, refusalLenMax, nameOfCall(call), "cut")).toString();
    const retryAfterMs = retryAfterOf(response);
    throw statusFault(nameOfCall(call), response.statusCode, words, {
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(response.statusCode === 401 ? { retryWith: authorization !== credentials.authorization() } : {}),
    });
  }

  /** As many tries as the answers ask for, each within the time limit. */
  async function tried<T>(call: Call, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await limited(limits.callMs, call.signal, work);
      } catch (error) {
        const fault = call.signal?.aborted ? givenUp(error, call) : asKubeFault(error, call, url.origin);
        const waitMs = waitBefore(fault, limits);
        if (waitMs === undefined || tries >= limits.triesMax) throw fault;
        await pause(waitMs, call.signal ?? never);
        if (call.signal?.aborted) throw fault;
      }
    }
  }

  async function counted<T>(call: Call, work: () => Promise<T>): Promise<T> {
    if (underWay >= limits.callsMax) {
      throw new Fault(
        "kube-busy",
        `${nameOfCall(call)}: ${underWay} calls are under way already; this one is not begun`,
      );
    }
    underWay += 1;
    try {
      return await work();
    } finally {
      underWay -= 1;
    }
  }

  const bytes = (call: Call): Promise<Buffer> =>
    counted(call, () =>
      tried(call, async (signal) =>
        readAll((await send(calls, call, signal)).body, limits.answerLenMax, nameOfCall(call), "refuse"),
      ),
    );

  return {
    bytes,
    json: async (call) => parseJson(await bytes(call), nameOfCall(call)),
    stream: (call) =>
      counted(call, () =>
        tried(call, async (limit) => {
          // The try's own signal ends with it; the stream must live on, and end with the caller's.
          const life = new AbortController();
          const end = (): void => life.abort((limit.aborted ? limit : call.signal)?.reason);
          limit.addEventListener("abort", end, { once: true });
          const { body } = await send(watches, call, life.signal);
          limit.removeEventListener("abort", end);
          call.signal?.addEventListener("abort", end, { once: true });
          body.once("close", () => call.signal?.removeEventListener("abort", end));
          if (call.signal?.aborted) end();
          return body;
        }),
      ),
    close: async () => {
      await Promise.all([calls.destroy(), watches.destroy()]);
    },
  };
}

const never = new AbortController().signal;

function queryText(query: Call["query"] = {}): string {
  const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given).toString()}`;
}

/** How long the server asks to wait before the same again; undefined where it does not ask. */
function retryAfterOf({ statusCode, headers }: Dispatcher.ResponseData): number | undefined {
  const value = headers["retry-after"];
  if ((statusCode !== 429 && statusCode !== 503) || typeof value !== "string") return undefined;
  return /^\d{1,6}$/.test(value) ? Number(value) * 1000 : retryAfterDefaultMs;
}

/** The wait before another try; undefined where there must be none. A quarter more by chance: others wait as well. */
function waitBefore({ data }: Fault, { retryAfterMaxMs }: Limits): number | undefined {
  if (data["retryWith"] === true) return 0;
  const asked = data["retryAfterMs"];
  if (typeof asked !== "number") return undefined;
  const waitMs = Math.min(asked, retryAfterMaxMs);
  return waitMs + randomInt(Math.ceil(waitMs / 4) + 1);
}

/** Whatever went wrong on the way, as a fault that names the call. */
export function asKubeFault(error: unknown, call: Pick<Call, "method" | "path">, origin: string): Fault {
  if (isFault(error)) return error;
  const at = `${nameOfCall(call)}: `;
  if (error instanceof TimeOver) {
    return new Fault("kube-unreachable", `${at}${origin} did not answer in time`, { cause: error });
  }
  const name = error instanceof Error ? error.name : "";
  if (name === "HTTPParserError") {
    return new Fault("kube-answer", `${at}${origin} does not speak HTTP as it should`, { cause: error });
  }
  return new Fault("kube-unreachable", `${at}no answer from ${origin}`, { cause: named(error) });
}

function givenUp(error: unknown, call: Call): Fault {
  if (isFault(error)) return error;
  return new Fault("kube-unreachable", `${nameOfCall(call)}: given up by the caller`, { cause: error });
}

/** Node's error of several addresses has no words of its own. */
function named(error: unknown): unknown {
  return error instanceof AggregateError && error.message === "" ? error.errors[0] : error;
}

async function readAll(
  body: AsyncIterable<Buffer>,
  lenMax: number,
  what: string,
  beyond: "cut" | "refuse",
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let len = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    len += chunk.length;
    if (len <= lenMax) continue;
    if (beyond === "cut") break;
    throw new Fault("kube-answer", `${what}: the answer has more than ${lenMax} bytes`, { data: { lenMax } });
  }
  return Buffer.concat(chunks).subarray(0, lenMax);
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** @throws Fault "kube-answer" where `bytes` is no JSON in UTF-8 or is nested too deeply */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  if (isDeeperThan(bytes, answerDepthMax)) {
    throw new Fault("kube-answer", `${what}: the answer is nested deeper than ${answerDepthMax} levels`);
  }
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    throw new Fault(
      "kube-answer",
      `${what}: the answer is no JSON in UTF-8: ${clip(Buffer.from(bytes.subarray(0, 60)).toString(), 60)}`,
      { cause },
    );
  }
}

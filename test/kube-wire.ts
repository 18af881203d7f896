// An API server over plain HTTP, as the contract suites speak with one: no client of ours stands between.

import { randomBytes } from "node:crypto";
import type { TestContext } from "node:test";
import { Agent, request } from "undici";

/** What a request may take; a watch as a whole. */
const callWithinMs = 30_000;

export interface WireOptions {
  /** "http://127.0.0.1:8080"; behind a socket, any with the right name. */
  url: string;
  /** A unix socket that leads there. */
  socketPath?: string;
  tls?: { ca: string; cert?: string; key?: string; servername?: string };
  token?: string;
}

export interface Reply {
  status: number;
  /** The body as JSON; undefined where there is none. */
  body: Obj;
  headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** JSON as tests look into it. */
export interface Obj {
  [key: string]: Value;
}
export type Value = undefined | null | boolean | number | string | Value[] | Obj;

export interface CallOptions {
  body?: unknown;
  /** "application/json" by default; of a PATCH, merge patch. */
  type?: string;
  headers?: Readonly<Record<string, string>>;
}

export interface WatchEvent {
  type: string;
  object: Obj;
}

export interface Watching {
  status: number;
  /** The next event; undefined at the end. @throws where none comes in time */
  next(): Promise<WatchEvent | undefined>;
  /** The next that is no bookmark. */
  nextChange(): Promise<WatchEvent | undefined>;
  close(): void;
}

export interface Wire {
  call(method: string, path: string, options?: CallOptions): Promise<Reply>;
  watch(path: string, headers?: Readonly<Record<string, string>>): Promise<Watching>;
  close(): Promise<void>;
}

export function openWire({ url, socketPath, tls, token }: WireOptions): Wire {
  const agent = new Agent({ connect: { ...(socketPath === undefined ? {} : { socketPath }), ...tls } });
  const base: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return {
    call: async (method, path, { body, type, headers = {} } = {}) => {
      const contentType = type ?? (method === "PATCH" ? "application/merge-patch+json" : "application/json");
      const response = await request(url + path, {
        method,
        dispatcher: agent,
        headers: { ...base, ...(body === undefined ? {} : { "content-type": contentType }), ...headers },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
        signal: AbortSignal.timeout(callWithinMs),
      });
      const text = await response.body.text();
      return { status: response.statusCode, body: readObject(text), headers: response.headers };
    },
    watch: async (path, headers = {}) => {
      const stop = new AbortController();
      const response = await request(url + path, {
        dispatcher: agent,
        headers: { ...base, ...headers },
        signal: AbortSignal.any([stop.signal, AbortSignal.timeout(callWithinMs)]),
      });
      const next = lineReader(response.body);
      const nextEvent = async (): Promise<WatchEvent | undefined> => {
        const line = await next();
        return line === undefined ? undefined : (JSON.parse(line) as WatchEvent);
      };
      return {
        status: response.statusCode,
        next: nextEvent,
        nextChange: async () => {
          let event = await nextEvent();
          while (event?.type === "BOOKMARK") event = await nextEvent();
          return event;
        },
        close: () => stop.abort(),
      };
    },
    close: () => agent.destroy(),
  };
}

function readObject(text: string): Obj {
  try {
    return JSON.parse(text) as Obj;
  } catch {
    return { text };
  }
}

/** Gives the lines of a stream one by one; undefined at its end. A stream that the test itself closed has ended. */
function lineReader(stream: AsyncIterable<Buffer>): () => Promise<string | undefined> {
  const chunks = stream[Symbol.asyncIterator]();
  let rest = "";
  return async () => {
    for (;;) {
      const end = rest.indexOf("\n");
      if (end >= 0) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 1);
        return line;
      }
      const { done, value } = await chunks.next();
      if (done === true) return undefined;
      rest += value.toString();
    }
  };
}

/** What is at a path of keys and indexes; undefined where the path ends early. */
export function look(value: Value, ...path: readonly (string | number)[]): Value {
  let current: Value = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = (current as Obj)[key]; // a list's index is a key too
  }
  return current;
}

export const metadata = (object: Obj): Obj => (look(object, "metadata") ?? {}) as Obj;
/** The text at a path; "" for anything else. */
export function textOf(value: Value, ...path: readonly (string | number)[]): string {
  const found = look(value, ...path);
  return typeof found === "string" ? found : "";
}
export const nameOf = (object: Obj): string => textOf(object, "metadata", "name");
export const version = (object: Obj): string => textOf(object, "metadata", "resourceVersion");
export const items = (list: Obj): Obj[] => (look(list, "items") ?? []) as Obj[];
export const names = (list: Obj): string[] => items(list).map(nameOf);

/** A name that no other test has. */
export const uniqueName = (what: string): string => `${what}-${randomBytes(4).toString("hex")}`;

/** A namespace of the test's own, with a default service account; deleted after it. */
export async function testNamespace(wire: Wire, t: TestContext): Promise<string> {
  const name = uniqueName("contract");
  await made(wire, "/api/v1/namespaces", { metadata: { name } });
  t.after(() => wire.call("DELETE", `/api/v1/namespaces/${name}`));
  await made(wire, `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: "default" } });
  return name;
}

/** Creates what must succeed; gives it. */
export async function made(wire: Wire, path: string, body: Obj): Promise<Obj> {
  const reply = await wire.call("POST", path, { body });
  if (reply.status !== 201) throw new Error(`POST ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
  return reply.body;
}

/** Creates a cluster-scoped object that is deleted after the test. */
export async function madeForTest(wire: Wire, t: TestContext, path: string, body: Obj): Promise<Obj> {
  const object = await made(wire, path, body);
  t.after(() => wire.call("DELETE", `${path}/${nameOf(object)}`));
  return object;
}

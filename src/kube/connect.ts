// The client of one API server: every call of the contract, put together of paths, one transport and caches.

import { assert } from "../base/assert.ts";
import { Fault, isFault } from "../base/fault.ts";
import { type Log, silentLog } from "../base/log.ts";
import type { KubeAddress } from "./address.ts";
import { startCache } from "./cache.ts";
import type { Kind, Kube, KubeObject, ListOptions, Patch, WriteOptions } from "./contract.ts";
import { linkSignals } from "./time-limit.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { listPages } from "./list.ts";
import { apiVersionOf, collectionPath, identityOf, keyOf, objectPath } from "./path.ts";
import { type Call, createTransport, nameOfCall } from "./request.ts";

export interface ConnectOptions {
  address: KubeAddress;
  /** Program and version, "fairlead-agent/0.1.0": the server's audit and flow control see it. */
  userAgent: string;
  /** Told of what caches live through; nothing else is logged. */
  log?: Log;
  /** Bounds that differ from the usual ones. */
  limits?: Partial<Limits>;
}

const patchTypes: Record<Patch["type"], string> = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
};
/** JSON is YAML, and this is the only content type for it that all servers know. */
const applyType = "application/apply-patch+yaml";
const json = "application/json";

/** Makes a client; nothing is connected before the first call. @throws Fault "bad-config" where the address is none */
export function connect({ address, userAgent, log = silentLog(), limits: given = {} }: ConnectOptions): Kube {
  const limits = { ...defaultLimits, ...given };
  const transport = createTransport(address, userAgent, limits);
  const closing = new AbortController();

  async function ask<T extends KubeObject>(kind: Kind<T>, call: Call): Promise<T> {
    return parseAnswer(kind, await transport.json(call), call);
  }

  return {
    get: (kind, ref, { signal } = {}) => ask(kind, { method: "GET", path: objectPath(kind, ref), signal }),
    list: async <T extends KubeObject>(kind: Kind<T>, options: ListOptions = {}) => {
      const call = { method: "GET", path: collectionPath(kind, options.namespace) } as const;
      let items: T[] = [];
      const resourceVersion = await listPages(transport, limits, kind, options, {
        begin: () => (items = []),
        take: (raw) => items.push(parseAnswer(kind, raw, call)),
      });
      return { items, resourceVersion };
    },
    create: (kind, object, options = {}) => {
      assert(options.subresource === undefined, "a status is replaced or patched, never created");
      assert(!kind.namespaced || object.metadata.namespace !== undefined, `a new ${kind.kind} needs its namespace`);
      return ask(kind, {
        method: "POST",
        path: collectionPath(kind, object.metadata.namespace),
        ...writing(wired(kind, object), json, options),
      });
    },
    replace: (kind, object, options = {}) => {
      assert(object.metadata.resourceVersion !== undefined, `a ${kind.kind} is replaced with its resourceVersion`);
      return ask(kind, {
        method: "PUT",
        path: objectPath(kind, object.metadata, options.subresource),
        ...writing(wired(kind, object), json, options),
      });
    },
    patch: (kind, ref, { type, body }, options = {}) =>
      ask(kind, {
        method: "PATCH",
        path: objectPath(kind, ref, options.subresource),
        ...writing(body, patchTypes[type], options),
      }),
    apply: (kind, object, options) =>
      ask(kind, {
        method: "PATCH",
        path: objectPath(kind, object.metadata, options.subresource),
        query: { fieldManager: options.fieldManager, force: options.force === true ? "true" : undefined },
        ...writing(wired(kind, object), applyType, options),
      }),
    remove: async (kind, ref, { uid, resourceVersion, signal } = {}) => {
      const preconditions = { uid, resourceVersion };
      const body = { type: json, value: { kind: "DeleteOptions", apiVersion: "v1", preconditions } };
      try {
        await transport.bytes({ method: "DELETE", path: objectPath(kind, ref), body, signal });
      } catch (error) {
        if (!isFault(error, "kube-not-found")) throw error;
      }
    },
    follow: (kind, options) => {
      const { controller, release } = linkSignals([options.signal, closing.signal]);
      const cache = startCache({ transport, limits, log }, kind, { ...options, signal: controller.signal });
      void cache.done.finally(release);
      return cache;
    },
    raw: async (path, { signal } = {}) => {
      assert(path.startsWith("/"), `a path begins with "/"; ${JSON.stringify(path)} does not`);
      return (await transport.bytes({ method: "GET", path, signal })).toString();
    },
    close: () => {
      closing.abort();
      return transport.close();
    },
  };
}

/** An object as it is sent: with the names of its kind. */
const wired = (kind: Kind<KubeObject>, object: KubeObject): object => ({
  apiVersion: apiVersionOf(kind),
  kind: kind.kind,
  ...object,
});

const writing = (value: unknown, type: string, { signal }: WriteOptions): Pick<Call, "body" | "signal"> => ({
  body: { type, value },
  signal,
});

function parseAnswer<T extends KubeObject>(kind: Kind<T>, raw: unknown, call: Call): T {
  try {
    return kind.parse(raw);
  } catch (cause) {
    const identity = identityOf(raw);
    const which = identity === undefined ? "an object without a name" : keyOf(identity).replace(/^\//, "");
    throw new Fault("kube-answer", `${nameOfCall(call)}: ${which} is no ${kind.kind} that we can read`, { cause });
  }
}

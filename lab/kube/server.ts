// A small Kubernetes API server: objects in memory behind HTTP, with what a lab wants to order and to count.

import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { Fault } from "../../src/base/fault.ts";
import { type Callers, type TokenWish, createCallers } from "./callers.ts";
import { startCollector } from "./collector.ts";
import { crdKind } from "./crd.ts";
import { type Faults, createFaults, createGate } from "./faults.ts";
import { keepFile, loadStore, saveStore } from "./file.ts";
import { type HttpDeps, type RequestLine, serveRequest } from "./http.ts";
import { builtInKinds, reviewKinds } from "./kinds.ts";
import { createRegistry } from "./registry.ts";
import { shelfOf } from "./resource.ts";
import type { WatchSettings } from "./serve-watch.ts";
import { type Store, createStore } from "./store.ts";
import { type UserUsage, createUsage } from "./usage.ts";
import { create } from "./writes.ts";

export interface ApiServerOptions {
  /** Default 127.0.0.1. */
  host?: string;
  /** Default 0: any that is free. */
  port?: number;
  /** PEM texts. With `clientCa`, client certificates of it name their user. */
  tls?: { cert: string; key: string; clientCa?: string };
  /** False: calls without a credential get 401. Default true. */
  anonymous?: boolean;
  /** Tokens that are valid from the start. */
  tokens?: ReadonlyMap<string, TokenWish>;
  watch?: Partial<WatchSettings>;
  /** Keeps the objects over a restart. */
  file?: string;
  /** Told when a request has ended. */
  onRequest?: (line: RequestLine) => void;
}

export interface ApiServer {
  /** "http://127.0.0.1:35001". */
  readonly url: string;
  readonly callers: Pick<Callers, "issue" | "revoke">;
  readonly faults: Pick<Faults, "add" | "clear">;
  /** Every request waits and every watch is silent until `resume`: a server that hangs. */
  pause(): void;
  resume(): void;
  /** Watches alone are silent until `resumeWatches`; what they missed they are told then. */
  stallWatches(): void;
  resumeWatches(): void;
  /** Ends every watch's connection without a word. */
  cutWatches(): void;
  /** Ends every connection and refuses new ones until `endOutage`. */
  startOutage(): Promise<void>;
  endOutage(): Promise<void>;
  /** Forgets changes up to `version`, or up to now: older watches and lists have expired. */
  compact(version?: number): void;
  /** What each user asked for, since the start or the last `resetUsage`. */
  usage(): UserUsage[];
  resetUsage(): void;
  /** Open connections. */
  connections(): number;
  readonly store: Store;
  close(): Promise<void>;
}

const watchDefaults: WatchSettings = { bookmarkEveryMs: 60_000, timeoutMs: 300_000, expiredAs: "event" };
/** As long as the real one lets a connection idle. */
const idleMs = 180_000;

/** Starts a server that is empty but for the namespaces that are always there. @throws Fault "lab-failed" where it cannot listen */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const { host = "127.0.0.1", port = 0, tls } = options;
  const registry = createRegistry([...builtInKinds(), ...reviewKinds()]);
  const store = createStore();
  registry.add(crdKind(registry, store));
  const deps: HttpDeps = {
    state: {
      store,
      registry,
      callers: createCallers({
        anonymous: options.anonymous ?? true,
        ...(options.tokens === undefined ? {} : { given: options.tokens }),
      }),
    },
    faults: createFaults(),
    gate: createGate(),
    watchGate: createGate(),
    usage: createUsage(),
    watches: new Set(),
    settings: { ...watchDefaults, ...options.watch },
    onRequest: options.onRequest,
  };
  const loaded = options.file !== undefined && loadStore(store, options.file);
  if (loaded) tellRules(deps);
  else makeNamespaces(deps);
  const stopping = new AbortController();
  const collector = startCollector({ store, registry, signal: stopping.signal });
  const keeper = options.file === undefined ? undefined : keepFile(store, options.file, stopping.signal);
  const onRequest = (request: IncomingMessage, response: ServerResponse): void =>
    void serveRequest(deps, request, response);
  const server: Server =
    tls === undefined
      ? createServer(onRequest)
      : createTlsServer(
          {
            cert: tls.cert,
            key: tls.key,
            ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: false }),
          },
          onRequest,
        );
  server.keepAliveTimeout = idleMs;
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const own = await listen(server, host, port);
  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const { faults, gate, watchGate, usage, watches } = deps;
  const { callers } = deps.state;
  return {
    url: `${tls === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${own}`,
    callers,
    faults,
    pause: () => gate.shut(),
    resume: () => gate.open(),
    stallWatches: () => watchGate.shut(),
    resumeWatches: () => watchGate.open(),
    cutWatches: () => {
      for (const response of watches) response.destroy();
    },
    startOutage: stop,
    endOutage: async () => {
      await listen(server, host, own);
    },
    compact: (version) => store.compact(version),
    usage: () => usage.read(),
    resetUsage: () => usage.reset(),
    connections: () => sockets.size,
    store,
    close: async () => {
      stopping.abort();
      await Promise.all([stop(), collector.done, keeper?.done]);
      if (options.file !== undefined) saveStore(store, options.file);
    },
  };
}

/** Gives the port. */
function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error): void =>
      reject(new Fault("lab-failed", `cannot listen on ${host} port ${port}`, { cause }));
    server.once("error", refuse);
    server.listen(port, host, () => {
      server.off("error", refuse);
      const address = server.address() as AddressInfo; // oxlint-disable-line typescript/no-unsafe-type-assertion -- it listens on a port, so it has one
      resolve(address.port);
    });
  });
}

/** Namespaces that every cluster has. */
const namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"];

function makeNamespaces({ state: { registry, store } }: HttpDeps): void {
  const resource = registry.find("", "v1", "namespaces");
  if (resource === undefined) return;
  for (const name of namespaces) {
    create(store, { resource }, { metadata: { name } }, { dryRun: false, unknownFields: "ignore" });
  }
}

/** Kinds of definitions that a file brought. */
function tellRules({ state: { registry, store } }: HttpDeps): void {
  const definitions = registry.all().find(({ kind }) => kind === "CustomResourceDefinition");
  if (definitions === undefined) return;
  for (const { object } of store.list(shelfOf(definitions)) ?? []) definitions.rules.stored?.(object, "written");
}

// An API server for tests of the client: a true store behind HTTP, and whatever a test wants to go wrong in front of it.

import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { createStore, type Place, type Store, type Stored } from "./store.ts";
import { serveWatch, type WatchWhim } from "./watch.ts";

/** One request as a test sees it. */
export interface Seen {
  method: string;
  /** Without query. */
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: string;
}

/** What happens in place of, or around, the right answer. */
export type Whim =
  | { answer: number; headers?: Record<string, string>; body?: string | object }
  /** The connection breaks; "after": the request has been carried out. */
  | { drop: "before" | "after" }
  /** No answer for as long as the client waits. */
  | { stall: "before" | "after" }
  /** That share of the right answer, then the connection breaks. */
  | { cut: number }
  | { watch: WatchWhim };

export interface TestServer {
  url: string;
  store: Store;
  seen: Seen[];
  /** Asked for each request; may be changed while the server runs. */
  whim: (seen: Seen) => Whim | undefined;
  /** Told of each connection, after its TLS. */
  onSocket: (socket: Socket) => void;
  /** Breaks every connection there is. */
  breakAll(): void;
  stop(): Promise<void>;
}

/** Starts a server on this machine; `tls` makes it https. */
export async function startServer({
  tls,
  whim,
}: { tls?: TlsOptions; whim?: TestServer["whim"] } = {}): Promise<TestServer> {
  const store = createStore();
  const snapshots = new Map<string, { items: readonly Stored[]; version: number }>();
  const listener: RequestListener = (request, response) => {
    void answer(server, snapshots, request, response);
  };
  const http = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  http.keepAliveTimeout = 60_000;
  await new Promise<void>((done) => http.listen(0, "127.0.0.1", done));
  const address = http.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const server: TestServer = {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    store,
    seen: [],
    whim: whim ?? (() => undefined),
    onSocket: () => undefined,
    breakAll: () => http.closeAllConnections(),
    stop: async () => {
      http.closeAllConnections();
      await new Promise((done) => http.close(done));
    },
  };
  http.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => server.onSocket(socket));
  return server;
}

async function answer(
  server: TestServer,
  snapshots: Map<string, { items: readonly Stored[]; version: number }>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.on("error", () => undefined);
  const url = new URL(request.url ?? "/", "http://server");
  let body = "";
  try {
    for await (const chunk of request.setEncoding("utf8")) body += String(chunk);
  } catch {
    return; // the client went away
  }
  const { method = "" } = request;
  const seen = { method, path: url.pathname, query: url.searchParams, headers: request.headers, body };
  server.seen.push(seen);
  const whim = server.whim(seen);
  const send = (status: number, value: unknown, headers: Record<string, string> = {}): void => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (whim !== undefined && "cut" in whim) {
      response.writeHead(status, { "content-length": String(Buffer.byteLength(text)), ...headers });
      response.write(Buffer.from(text).subarray(0, Math.floor(Buffer.byteLength(text) * whim.cut)), () =>
        request.socket.destroy(),
      );
      return;
    }
    if (whim !== undefined && "drop" in whim) return void request.socket.destroy();
    if (whim !== undefined && "stall" in whim) return;
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(text);
  };
  if (whim !== undefined && "answer" in whim) return send(whim.answer, whim.body ?? status(whim.answer), whim.headers);
  if (whim !== undefined && "drop" in whim && whim.drop === "before") return void request.socket.destroy();
  if (whim !== undefined && "stall" in whim && whim.stall === "before") return;
  const place = placeOf(url.pathname);
  if (place === undefined) return send(404, status(404, "NotFound"));
  if (place.name === undefined && method === "GET" && seen.query.get("watch") === "1") {
    return serveWatch(
      server.store,
      place,
      seen.query,
      response,
      whim !== undefined && "watch" in whim ? whim.watch : {},
    );
  }
  const [code, value] =
    place.name === undefined && method === "GET"
      ? listAnswer(server.store, snapshots, place, seen.query)
      : objectAnswer(server.store, place, method, body);
  send(code, value);
}

function placeOf(path: string): Place | undefined {
  const match = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?(?:\/status)?$/.exec(
    path,
  );
  if (match === null) return undefined;
  const [, root, namespace, plural, name] = match;
  return {
    collection: `${root}/${plural}`,
    ...(namespace === undefined ? {} : { namespace: decodeURIComponent(namespace) }),
    ...(name === undefined ? {} : { name: decodeURIComponent(name) }),
  };
}

/** A Status object. */
export const status = (code: number, reason = "Whim", message = `status ${code}`): object => ({
  kind: "Status",
  status: code < 400 ? "Success" : "Failure",
  code,
  reason,
  message,
});

function listAnswer(
  store: Store,
  snapshots: Map<string, { items: readonly Stored[]; version: number }>,
  place: Place,
  query: URLSearchParams,
): [number, unknown] {
  const limit = Number(query.get("limit") ?? "0");
  const token = query.get("continue") ?? undefined;
  const [id = "", from = "0"] = token?.split(":") ?? [];
  const kept = token === undefined ? undefined : snapshots.get(id);
  // A page that goes on is read from history, and history that was compacted is gone.
  if (token !== undefined && (kept === undefined || store.changesAfter(kept.version) === undefined)) {
    return [410, status(410, "Expired", "The provided continue parameter is too old")];
  }
  const all = store.objects(place.collection);
  const { items, version } = kept ?? {
    items: all.filter(({ metadata }) => place.namespace === undefined || metadata.namespace === place.namespace),
    version: store.version(),
  };
  const end = limit === 0 ? items.length : Number(from) + limit;
  const more = end < items.length;
  const snapshot = kept === undefined ? `${snapshots.size}` : id;
  if (more) snapshots.set(snapshot, { items, version });
  const metadata = { resourceVersion: String(version), ...(more ? { continue: `${snapshot}:${end}` } : {}) };
  return [200, { kind: "List", metadata, items: items.slice(Number(from), end) }];
}

function objectAnswer(store: Store, place: Place, method: string, body: string): [number, unknown] {
  const { collection, namespace } = place;
  const sent = body === "" ? {} : (JSON.parse(body) as Partial<Stored>);
  const name = place.name ?? sent.metadata?.name ?? "";
  const found = store.get(collection, namespace, name);
  const at = { metadata: { ...sent.metadata, name, ...(namespace === undefined ? {} : { namespace }) } };
  if (method === "POST") {
    if (found !== undefined) return [409, status(409, "AlreadyExists", `${name} already exists`)];
    return [201, store.put(collection, { ...sent, ...at })];
  }
  if (found === undefined) return [404, status(404, "NotFound", `"${name}" not found`)];
  if (method === "GET") return [200, found];
  if (method === "DELETE") {
    const { preconditions = {} } = sent as { preconditions?: { uid?: string; resourceVersion?: string } };
    const { uid = found.metadata.uid, resourceVersion = found.metadata.resourceVersion } = preconditions;
    const holds = uid === found.metadata.uid && resourceVersion === found.metadata.resourceVersion;
    if (!holds) return [409, status(409, "Conflict", "the precondition does not hold")];
    return [200, store.remove(collection, namespace, name)];
  }
  const asked = sent.metadata?.resourceVersion;
  if (asked !== undefined && asked !== found.metadata.resourceVersion) {
    return [409, status(409, "Conflict", "the object has been modified")];
  }
  const merged =
    method === "PATCH" ? { ...found, ...sent, metadata: { ...found.metadata, ...at.metadata } } : { ...sent, ...at };
  return [200, store.put(collection, merged)];
}

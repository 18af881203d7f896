// What the controller tells over HTTP: health for the kubelet, metrics, and its state as JSON.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { assert } from "../base/assert.ts";
import { describe, Fault } from "../base/fault.ts";
import type { LoopStatus } from "../base/loop.ts";
import type { Metrics, Reading } from "../base/metrics.ts";
import { bookUsage } from "../ipam/node-blocks.ts";
import type { CacheStatus } from "../kube/contract.ts";
import type { Caches } from "./deps.ts";
import { cachedLedgers, type Ledger, type LedgerDeps } from "./ledgers.ts";

/** Passes that fail in a row before the leader counts as unwell: a single one can be an API server that restarts. */
const failuresToTell = 3;
/** A watch that has not heard from the server for this long may know nothing any more. */
const silentMaxMs = 180_000;

/** Who leads, as far as this replica knows. */
export interface Leadership {
  leads: boolean;
  /** "" for nobody. */
  holder: string;
}

export interface StatusDeps {
  address: string;
  /** 0: any that is free. */
  port: number;
  version: string;
  instance: string;
  caches: Caches;
  ledgerDeps: LedgerDeps;
  leadership: () => Leadership;
  loops: () => LoopStatus[];
  metrics: Metrics;
}

export interface StatusServer {
  port: number;
  close(): Promise<void>;
}

/** Starts to answer GET /status, /metrics, /healthz and /readyz. @throws Fault "machine-unfit" where the port cannot be had */
export async function serveStatus(deps: StatusDeps): Promise<StatusServer> {
  const server = createServer(
    { requestTimeout: 5000, headersTimeout: 5000, maxHeaderSize: 8192 },
    (request, response) => {
      const answer = async (): Promise<void> => {
        const route = request.method === "GET" ? routes.get(request.url) : undefined;
        const { type, body, httpStatus = 200 } = (await route?.(deps)) ?? unknownPath;
        response.writeHead(httpStatus, { "content-type": type });
        response.end(body);
      };
      answer().catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
    },
  );
  server.maxConnections = 64;
  await new Promise<void>((done, failed) => {
    server.once("error", (cause) =>
      failed(new Fault("machine-unfit", `cannot listen on ${deps.address} port ${deps.port}; is it taken?`, { cause })),
    );
    server.listen(deps.port, deps.address, () => done());
  });
  return {
    port: portOf(server.address()),
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

function portOf(address: AddressInfo | string | null): number {
  assert(typeof address === "object" && address !== null, "a TCP server has a port");
  return address.port;
}

interface Answer {
  type: string;
  body: string;
  /** 200 if absent. */
  httpStatus?: number;
}

type Route = (deps: StatusDeps) => Promise<Answer> | Answer;

const json = (value: unknown, httpStatus = 200): Answer => ({
  type: "application/json",
  body: `${JSON.stringify(value)}\n`,
  httpStatus,
});

const routes = new Map<string | undefined, Route>([
  ["/status", (deps) => json(statusOf(deps))],
  ["/metrics", async (deps) => ({ type: "text/plain; version=0.0.4", body: await deps.metrics.text(readings(deps)) })],
  ["/healthz", () => ({ type: "text/plain", body: "ok\n" })],
  ["/readyz", readiness],
]);
const unknownPath: Answer = json({ code: "not-found", msg: `ask GET ${[...routes.keys()].join(", ")}` }, 404);

/** What keeps this replica from serving, or from taking over, in words. */
export function troubles({ caches, loops }: Pick<StatusDeps, "caches" | "loops">): string[] {
  const blind = Object.values(caches).flatMap((cache) => {
    const { kind, lastError = "no answer so far" } = cache.status();
    if (!cache.synced()) return [`${kind} have not been listed yet: ${lastError}`];
    const silentMs = cache.silentMs();
    return silentMs > silentMaxMs ? [`nothing was heard of ${kind} for ${Math.round(silentMs / 1000)} s`] : [];
  });
  const failing = loops().flatMap(({ name, failures, lastPass }) =>
    failures >= failuresToTell ? [`${name}: ${describe(lastPass?.error)}`] : [],
  );
  return [...blind, ...failing];
}

function readiness(deps: StatusDeps): Answer {
  const found = troubles(deps);
  if (found.length === 0) return { type: "text/plain", body: "ok\n" };
  return { type: "text/plain", body: `${found.join("\n")}\n`, httpStatus: 503 };
}

/** The ledgers as the cache has them; none where one cannot be read: the loops tell why. */
function ledgersOf({ caches, ledgerDeps }: StatusDeps): Ledger[] {
  try {
    return cachedLedgers(caches.ledgers, ledgerDeps) ?? [];
  } catch {
    return [];
  }
}

/** The gauges, as they are now. */
function* readings(deps: StatusDeps): Generator<Reading> {
  yield ["fairlead_controller_leads", [], deps.leadership().leads ? 1 : 0];
  for (const { name, failures } of deps.loops()) yield ["fairlead_loop_failures", [name], failures];
  for (const { book } of ledgersOf(deps)) {
    const { service, given, free, pending } = bookUsage(book);
    for (const [state, value] of Object.entries({ service, given: given - pending, promised: pending, free }))
      yield ["fairlead_node_blocks", [book.range, state], value];
  }
}

/** What GET /status answers. */
export interface ControllerStatus {
  instance: string;
  version: string;
  leads: boolean;
  holder: string;
  nodes: number;
  ranges: { range: string; total: number; service: number; given: number; free: number; pending: number }[];
  caches: CacheStatus[];
  loops: { name: string; passes: number; failures: number; lastError?: string }[];
}

function statusOf(deps: StatusDeps): ControllerStatus {
  const { instance, version, caches, leadership, loops } = deps;
  return {
    instance,
    version,
    ...leadership(),
    nodes: caches.nodes.status().objects,
    ranges: ledgersOf(deps).map(({ book }) => ({ range: book.range, ...bookUsage(book) })),
    caches: Object.values(caches).map((cache) => cache.status()),
    loops: loops().map(({ name, passes, failures, lastPass }) => ({
      name,
      passes,
      failures,
      ...(lastPass?.error === undefined ? {} : { lastError: describe(lastPass.error) }),
    })),
  };
}

// The agent's read-only socket: what the command-line tool and health checks ask, as JSON over HTTP.

import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { describe } from "../base/fault.ts";
import type { LoopStatus } from "../base/loop.ts";
import type { Metrics, Reading } from "../base/metrics.ts";
import type { Pool } from "../ipam/pool.ts";
import type { CacheStatus } from "../kube/contract.ts";
import { listen, prepareSocketPath, type StopListening } from "./connection.ts";
import type { KernelLane } from "../kernel/contract.ts";
import type { Finding } from "./finding.ts";
import type { FlowsQuestion } from "./flows/flows.ts";
import type { KeptMasquerade } from "./masquerade.ts";
import { cidrFamily } from "../net/cidr.ts";
import type { Policing } from "./policy/police.ts";
import type { PolicyReport } from "./policy/report.ts";
import { brokenLoops } from "./health.ts";
import type { Uplink } from "./uplink.ts";

export interface StatusDeps {
  /** The CNI socket; this one lies beside it. */
  socket: string;
  nodeName: string;
  version: string;
  startedMs: number;
  pool: Pool;
  uplink: () => Uplink;
  loops: () => LoopStatus[];
  gateDepth: () => { working: number; waiting: number };
  metrics: Metrics;
  kernelCalls: () => Readonly<Record<KernelLane, number>>;
  masquerade: KeptMasquerade["status"];
  /** Nothing outside Kubernetes. */
  caches: () => readonly CacheStatus[];
  policing: Pick<Policing, "report" | "flows" | "readings" | "answer">;
  diagnose: () => Promise<Finding[]>;
}

/** Where the read-only socket of an agent lies. */
export function statusSocket(cniSocket: string): string {
  return join(dirname(cniSocket), "status.sock");
}

/** Starts to answer GET /status, /pods, /check, /flows, /policy, /metrics, /healthz and /readyz. */
export function serveStatus(deps: StatusDeps): Promise<StopListening> {
  return serveRoutes(
    deps.socket,
    new Map(Array.from(routes, ([path, route]) => [path, (query: URLSearchParams) => route(deps, query)])),
  );
}

export interface WaitingDeps extends Pick<StatusDeps, "socket" | "nodeName" | "version" | "startedMs"> {
  /** What the agent cannot begin without, in words with their cure. */
  waitsFor: () => string;
}

/** The same paths for an agent that cannot serve yet: alive, not ready, and it says why. */
export function serveWaiting({ socket, nodeName, version, startedMs, waitsFor }: WaitingDeps): Promise<StopListening> {
  const upSeconds = (): number => Math.round((performance.now() - startedMs) / 1000);
  const finding = (): Finding => ({ name: "cluster", state: "bad", says: `no pod can be attached yet: ${waitsFor()}` });
  const answers = new Map<string, () => Answer>([
    ["/status", () => json({ node: nodeName, version, upSeconds: upSeconds(), waitsFor: waitsFor() })],
    ["/pods", () => json([])],
    ["/check", () => json([finding()])],
    ["/healthz", () => ({ type: "text/plain", body: "ok\n" })],
    ["/readyz", () => ({ type: "text/plain", body: `waits for ${waitsFor()}\n`, httpStatus: 503 })],
  ]);
  return serveRoutes(socket, answers);
}

async function serveRoutes(
  socket: string,
  answers: ReadonlyMap<string | undefined, (query: URLSearchParams) => Promise<Answer> | Answer>,
): Promise<StopListening> {
  const server = createServer(
    { requestTimeout: 5000, headersTimeout: 5000, maxHeaderSize: 8192 },
    (request, response) => {
      const answer = async (): Promise<void> => {
        const [path, query] = (request.url ?? "").split("?", 2);
        const route = request.method === "GET" ? answers.get(path) : undefined;
        if (route === undefined) {
          response.writeHead(404, { "content-type": "application/json" });
          response.end(JSON.stringify({ code: "not-found", msg: `ask GET ${[...answers.keys()].join(", ")}` }));
          return;
        }
        const { type, body, httpStatus = 200 } = await route(new URLSearchParams(query));
        response.writeHead(httpStatus, { "content-type": type });
        response.end(body);
      };
      answer().catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
    },
  );
  const path = statusSocket(socket);
  await prepareSocketPath(path);
  await listen(server, path);
  return () =>
    new Promise((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
}

interface Answer {
  type: string;
  body: string;
  /** 200 if absent. */
  httpStatus?: number;
}

type Route = (deps: StatusDeps, query: URLSearchParams) => Promise<Answer> | Answer;

const json = (value: unknown): Answer => ({ type: "application/json", body: `${JSON.stringify(value)}\n` });

const routes = new Map<string | undefined, Route>([
  ["/status", (deps) => json(nodeStatus(deps))],
  ["/pods", ({ pool }) => json(pool.all().map(({ attachment, state }) => ({ ...attachment, state })))],
  ["/check", async ({ diagnose }) => json(await diagnose())],
  [
    "/flows",
    ({ policing }, query) => json(policing.flows(flowsQuestion(query)) ?? { none: "this agent judges no pods" }),
  ],
  ["/policy", policyAnswer],
  ["/metrics", metricsText],
  ["/healthz", () => ({ type: "text/plain", body: "ok\n" })],
  ["/readyz", readiness],
]);

/** `after=NUMBER`, `denied=yes`, `pod=NAMESPACE/NAME` and `connections=yes`; a number that cannot be read is 0. */
function flowsQuestion(query: URLSearchParams): FlowsQuestion {
  const after = query.get("after") ?? "";
  const pod = query.get("pod");
  return {
    after: /^\d{1,15}$/.test(after) ? Number(after) : 0,
    denied: query.get("denied") === "yes",
    connections: query.get("connections") === "yes",
    ...(pod === null ? {} : { pod }),
  };
}

async function policyAnswer({ policing, nodeName }: StatusDeps): Promise<Answer> {
  const answer = await policing.answer();
  return json(answer === undefined ? null : { node: nodeName, ...answer });
}

/** Pods can be attached, and nothing that living ones need is broken. */
function readiness({ loops }: StatusDeps): Answer {
  const broken = brokenLoops(loops());
  if (broken.length === 0) return { type: "text/plain", body: "ok\n" };
  return { type: "text/plain", body: `${broken.join("\n")}\n`, httpStatus: 503 };
}

async function metricsText(deps: StatusDeps): Promise<Answer> {
  const all = [...readings(deps), ...(await deps.policing.readings())];
  return { type: "text/plain; version=0.0.4", body: await deps.metrics.text(all) };
}

/** The gauges, as they are now. */
function* readings({
  pool,
  loops,
  gateDepth,
  kernelCalls,
  masquerade,
  caches,
  policing,
}: StatusDeps): Generator<Reading> {
  for (const { family, live, cooling, withheld, free } of pool.usage()) {
    yield ["fairlead_leases", [String(family), "live"], live];
    yield ["fairlead_leases", [String(family), "cooling"], cooling];
    yield ["fairlead_leases", [String(family), "withheld"], withheld];
    yield ["fairlead_leases", [String(family), "free"], Number(free)];
  }
  for (const [state, count] of Object.entries(attachmentCounts(pool))) yield ["fairlead_attachments", [state], count];
  for (const [state, count] of Object.entries(gateDepth())) yield ["fairlead_cni_calls", [state], count];
  for (const [lane, count] of Object.entries(kernelCalls())) yield ["fairlead_kernel_calls", [lane], count];
  for (const { kind, objects, failures } of caches()) {
    yield ["fairlead_kube_objects", [kind], objects];
    yield ["fairlead_kube_watch_failures", [kind], failures];
  }
  const masqueraded = masquerade();
  if (masqueraded !== undefined) yield ["fairlead_masquerade_file", [masqueraded.file], 1];
  if (masqueraded?.plan !== undefined) {
    for (const family of [4, 6] as const) {
      const { length } = masqueraded.plan.keep.filter((range) => cidrFamily(range) === family);
      yield ["fairlead_masquerade_kept_ranges", [String(family)], length];
    }
  }
  for (const { object, pods } of policing.report()?.breakGlass ?? [])
    yield ["fairlead_policy_break_glass", [object], pods];
  for (const { name, failures } of loops()) yield ["fairlead_loop_failures", [name], failures];
}

function attachmentCounts(pool: Pool): { ready: number; planned: number } {
  const ready = pool.all().filter(({ state }) => state === "ready").length;
  return { ready, planned: pool.all().length - ready };
}

/** What GET /status answers. Counts of addresses are strings: an IPv6 block holds more than a number can say. */
export interface NodeStatus {
  node: string;
  version: string;
  upSeconds: number;
  uplink: { name: string; mtu: number; addresses: string[] };
  blocks: string[];
  addresses: { family: 4 | 6; total: string; live: number; cooling: number; withheld: number }[];
  attachments: { ready: number; planned: number };
  calls: { working: number; waiting: number };
  loops: { name: string; passes: number; failures: number; lastError?: string }[];
  /** Absent outside Kubernetes. */
  policy?: PolicyReport;
}

function nodeStatus(deps: StatusDeps): NodeStatus {
  const { nodeName, version, startedMs, pool, uplink, loops, gateDepth } = deps;
  const policy = deps.policing.report();
  const { link, addresses, mtu } = uplink();
  return {
    node: nodeName,
    version,
    upSeconds: Math.round((performance.now() - startedMs) / 1000),
    uplink: { name: link.name, mtu, addresses: Object.values(addresses) },
    blocks: [...pool.blocks()],
    addresses: pool.usage().map(({ family, total, live, cooling, withheld }) => {
      return { family, total: String(total), live, cooling, withheld };
    }),
    attachments: attachmentCounts(pool),
    calls: gateDepth(),
    loops: loops().map(({ name, passes, failures, lastPass }) => ({
      name,
      passes,
      failures,
      ...(lastPass?.error === undefined ? {} : { lastError: describe(lastPass.error) }),
    })),
    ...(policy === undefined ? {} : { policy }),
  };
}

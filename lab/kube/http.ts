// HTTP around the handler: bodies in, answers out, faults in between, and every request counted for its user.

import type { IncomingMessage, ServerResponse } from "node:http";
import { pause } from "../../src/base/pause.ts";
import { type Answer, jsonAnswer } from "./answer.ts";
import type { Caller } from "./callers.ts";
import { discover } from "./discovery.ts";
import type { FaultEffect, Faults, Gate } from "./faults.ts";
import type { Call } from "./call.ts";
import { handle } from "./handler.ts";
import { type Route, readRoute } from "./route.ts";
import { type WatchSettings, serveWatch } from "./serve-watch.ts";
import type { ApiState } from "./state.ts";
import { NoSuchPath, Refusal } from "./status.ts";
import type { Usage } from "./usage.ts";

/** The largest body (apiserver, MaxRequestBodyBytes). */
const bodyMaxBytes = 3 * 1024 * 1024;
const bodyDrainedMaxBytes = 4 * bodyMaxBytes;

export interface HttpDeps {
  state: ApiState;
  faults: Faults;
  /** Shut: every request waits, every watch is silent. */
  gate: Gate;
  /** Shut: watches alone are silent. */
  watchGate: Gate;
  usage: Usage;
  watches: Set<ServerResponse>;
  settings: WatchSettings;
  onRequest?: ((line: RequestLine) => void) | undefined;
}

/** A request for the log. */
export interface RequestLine {
  user: string;
  method: string;
  path: string;
  code: number;
  durationMs: number;
}

/** Answers one request; never rejects. */
export async function serveRequest(deps: HttpDeps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const startedMs = performance.now();
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  let user = "(unknown)";
  try {
    const caller = deps.state.callers.of(request);
    user = caller.name;
    await answerRequest(deps, { request, response, caller, signal: gone.signal });
  } catch (error) {
    if (!response.headersSent) send(deps, response, user, refusalAnswer(error));
    else response.destroy();
  } finally {
    const line = { user, method: request.method ?? "", path: request.url ?? "", code: response.statusCode };
    deps.onRequest?.({ ...line, durationMs: performance.now() - startedMs });
  }
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  caller: Caller;
  signal: AbortSignal;
}

async function answerRequest(deps: HttpDeps, { request, response, caller, signal }: Exchange): Promise<void> {
  const { state, faults, gate, usage } = deps;
  const body = await readBody(request);
  await gate.pass(signal);
  const url = new URL(request.url ?? "/", "http://server");
  const method = request.method ?? "GET";
  const discovery = method === "GET" ? plainPath(state, url.pathname) : undefined;
  if (discovery !== undefined) {
    usage.began(caller.name, `get ${url.pathname}`.slice(0, 40), 0);
    return send(deps, response, caller.name, discovery);
  }
  const route = readRoute(state.registry, method, url);
  usage.began(caller.name, usageName(route), body.length);
  const effect = faults.strike(route, caller.name);
  if (await strikesFirst(deps, { effect, route, response, user: caller.name, signal })) return;
  const call: Call = {
    route,
    caller,
    accept: request.headers.accept ?? "",
    contentType: (request.headers["content-type"] ?? "").split(";")[0]?.trim() ?? "",
    body,
  };
  if (route.verb === "watch") return runWatch(deps, call, { response, signal, effect });
  const answer = handle(state, call);
  if (effect?.does === "cut") response.destroy();
  else send(deps, response, caller.name, effect?.does === "answer" ? ordered(effect) : answer);
}

const usageName = ({ verb, resource, subresource }: Route): string =>
  `${verb} ${resource.plural}${subresource === undefined ? "" : `/${subresource}`}`;

interface Strike {
  effect: FaultEffect | undefined;
  route: Route;
  response: ServerResponse;
  user: string;
  signal: AbortSignal;
}

/** What a fault does before the work; true where the request ends with it. */
async function strikesFirst(deps: HttpDeps, { effect, route, response, user, signal }: Strike): Promise<boolean> {
  if (effect === undefined) return false;
  if (effect.does === "delay") {
    await pause(effect.ms, signal);
    return signal.aborted;
  }
  if (effect.does === "stall" && route.verb !== "watch") {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    return true;
  }
  if (effect.does === "cut" && effect.when === "before") {
    response.destroy();
    return true;
  }
  if (effect.does === "answer" && effect.after !== true) {
    send(deps, response, user, ordered(effect));
    return true;
  }
  return false;
}

const reasons: Readonly<Record<number, string>> = {
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  410: "Expired",
  422: "Invalid",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
  504: "Timeout",
};

function ordered({ status, reason, message, retryAfterSeconds }: FaultEffect & { does: "answer" }): Answer {
  const details = retryAfterSeconds === undefined ? undefined : { retryAfterSeconds };
  const refusal = new Refusal(status, reason ?? reasons[status] ?? "", message ?? "by order of a fault rule", details);
  return { ...jsonAnswer(status, refusal.body()), retryAfterSeconds };
}

async function runWatch(
  deps: HttpDeps,
  call: Call,
  { response, signal, effect }: Pick<Exchange, "response" | "signal"> & { effect: FaultEffect | undefined },
): Promise<void> {
  const { state, gate, watchGate, watches, settings, usage } = deps;
  watches.add(response);
  try {
    await serveWatch(state, call, {
      settings,
      response,
      signal,
      gates: [gate, watchGate],
      stalled: effect?.does === "stall",
      onBegun: () => usage.answered(call.caller.name, 200),
      onSent: (bytes) => usage.sent(call.caller.name, bytes),
    });
  } finally {
    watches.delete(response);
  }
}

function plainPath({ registry }: ApiState, path: string): Answer | undefined {
  if (path === "/healthz" || path === "/livez" || path === "/readyz") return { code: 200, body: Buffer.from("ok") };
  // An empty document of OpenAPI v2 in protobuf: older kubectl reads it before it validates, and finds no kind to validate.
  if (path === "/openapi/v2") return { code: 200, body: Buffer.alloc(0) };
  const found = discover(registry, path);
  return found === undefined ? undefined : jsonAnswer(200, found);
}

function refusalAnswer(error: unknown): Answer {
  if (error instanceof NoSuchPath) return { code: 404, body: Buffer.from(error.message), contentType: "text/plain" };
  if (error instanceof Refusal)
    return { ...jsonAnswer(error.code, error.body()), retryAfterSeconds: error.details?.retryAfterSeconds };
  const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return jsonAnswer(500, new Refusal(500, "InternalError", `Internal error occurred: ${words}`).body());
}

function send({ usage }: HttpDeps, response: ServerResponse, user: string, answer: Answer): void {
  const { code, body, warnings = [], retryAfterSeconds, contentType = "application/json" } = answer;
  usage.answered(user, code);
  usage.sent(user, body.length);
  if (response.destroyed) return;
  const headers: Record<string, string | number | string[]> = {
    "content-type": contentType,
    "content-length": body.length,
  };
  if (warnings.length > 0) headers["warning"] = warnings.map((each) => `299 - ${JSON.stringify(each)}`);
  if (retryAfterSeconds !== undefined) headers["retry-after"] = String(retryAfterSeconds);
  response.writeHead(code, headers);
  response.end(body);
}

/** A body that is too large is read to its end, up to a point, so that the client hears why instead of a broken connection. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= bodyMaxBytes) chunks.push(chunk);
    if (bytes > bodyDrainedMaxBytes) break;
  }
  if (bytes <= bodyMaxBytes) return Buffer.concat(chunks);
  throw new Refusal(413, "RequestEntityTooLarge", `Request entity too large: limit is ${bodyMaxBytes}`);
}

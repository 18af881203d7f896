// What a lab orders of an API server that runs as a program of its own: one command a request, on a unix socket.

import { rmSync } from "node:fs";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { z } from "zod";
import { describe } from "../../src/base/fault.ts";
import { readJson } from "../json.ts";
import type { ApiServer } from "./server.ts";

const effect = z.discriminatedUnion("does", [
  z.strictObject({
    does: z.literal("answer"),
    status: z.int().min(400).max(599),
    reason: z.string().exactOptional(),
    message: z.string().exactOptional(),
    retryAfterSeconds: z.int().min(0).exactOptional(),
    after: z.boolean().exactOptional(),
  }),
  z.strictObject({ does: z.literal("delay"), ms: z.int().min(0).max(600_000) }),
  z.strictObject({ does: z.literal("cut"), when: z.enum(["before", "after"]) }),
  z.strictObject({ does: z.literal("stall") }),
]);

const rule = z.strictObject({
  verb: z.enum(["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]).exactOptional(),
  resource: z.string().exactOptional(),
  subresource: z.string().exactOptional(),
  namespace: z.string().exactOptional(),
  name: z.string().exactOptional(),
  user: z.string().exactOptional(),
  skip: z.int().min(0).exactOptional(),
  times: z.int().min(1).exactOptional(),
  effect,
});

const wish = z.strictObject({
  name: z.string().min(1),
  groups: z.array(z.string()).exactOptional(),
  extra: z.record(z.string(), z.array(z.string())).exactOptional(),
  expiresInMs: z.int().min(1).exactOptional(),
});

/** A command, as `POST /NAME` with its argument as the body. */
const commands: Readonly<Record<string, (server: ApiServer, body: string) => unknown>> = {
  pause: (server) => server.pause(),
  resume: (server) => server.resume(),
  "stall-watches": (server) => server.stallWatches(),
  "resume-watches": (server) => server.resumeWatches(),
  "cut-watches": (server) => server.cutWatches(),
  "start-outage": (server) => server.startOutage(),
  "end-outage": (server) => server.endOutage(),
  compact: (server) => server.compact(),
  usage: (server) => server.usage(),
  "reset-usage": (server) => server.resetUsage(),
  "clear-faults": (server) => server.faults.clear(),
  "add-fault": (server, body) => void server.faults.add(readJson(rule, body, "fault rule")),
  "issue-token": (server, body) => ({ token: server.callers.issue(readJson(wish, body, "token")) }),
};

/** Largest body of a command. */
const bodyMaxBytes = 64 * 1024;

/** Listens on a socket that root alone may use; 404 for an unknown command, with the list of those that are. */
export async function startControl(api: ApiServer, socket: string): Promise<Server> {
  rmSync(socket, { force: true });
  const server = createServer((request, response) => void answer(api, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socket, resolve);
  });
  return server;
}

async function answer(api: ApiServer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const say = (code: number, body: unknown): void => {
    response.writeHead(code, { "content-type": "application/json" });
    response.end(JSON.stringify(body ?? {}));
  };
  try {
    let body = "";
    for await (const chunk of request as AsyncIterable<Buffer>) {
      body += chunk.toString();
      if (body.length > bodyMaxBytes) return say(413, { error: `a command has at most ${bodyMaxBytes} bytes` });
    }
    const command = commands[(request.url ?? "").slice(1)];
    if (command === undefined || request.method !== "POST")
      return say(404, { error: `POST one of: ${Object.keys(commands).join(", ")}` });
    say(200, await command(api, body));
  } catch (error) {
    say(400, { error: describe(error) });
  }
}

// What a kubelet asks an agent, by TCP on loopback: whether it lives, and whether it can attach pods. A probe that starts a program costs more than the agent.

import { createServer, type IncomingMessage, request } from "node:http";
import { Fault } from "../base/fault.ts";
import type { StopListening } from "./connection.ts";

export interface ProbesOptions {
  /** On 127.0.0.1 of the node; 0 for any that is free. */
  port: number;
  /** Where the agent answers GET /readyz once it serves. */
  statusSocket: string;
}

export interface Probes {
  port: number;
  stop: StopListening;
}

/** The agent answers from memory; a kubelet waits 2 s. */
const readyWaitMs = 1000;
const readyTextMax = 4096;

/**
 * Answers GET /healthz, from the first moment on, and GET /readyz, with what the status socket says. Nothing else can be asked:
 * every user of the node reaches this port.
 * @throws Fault "io-failure" where the port is taken.
 */
export async function serveProbes({ port, statusSocket }: ProbesOptions): Promise<Probes> {
  const server = createServer(
    { requestTimeout: 5000, headersTimeout: 5000, maxHeaderSize: 8192 },
    (asked, response) => {
      const say = (status: number, body: string): void => {
        response.writeHead(status, { "content-type": "text/plain" });
        response.end(`${body}\n`);
      };
      if (asked.method === "GET" && asked.url === "/healthz") say(200, "ok");
      else if (asked.method === "GET" && asked.url === "/readyz") askReady(statusSocket, say);
      else say(404, "ask GET /healthz or /readyz");
    },
  );
  server.maxConnections = 64;
  await new Promise<void>((done, failed) => {
    server.once("error", (cause) =>
      failed(
        new Fault("io-failure", `the agent cannot listen on 127.0.0.1:${port}; give it another probes.port`, { cause }),
      ),
    );
    server.listen(port, "127.0.0.1", done);
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : port,
    stop: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** Passes the agent's own answer on; one that does not serve yet has no socket. */
function askReady(statusSocket: string, say: (status: number, body: string) => void): void {
  const asked = request(
    { socketPath: statusSocket, path: "/readyz", timeout: readyWaitMs, agent: false },
    (response) => {
      textOf(response)
        .then((text) => say(response.statusCode ?? 503, text))
        .catch(() => say(503, "the agent broke off its answer"));
    },
  );
  asked.once("timeout", () => asked.destroy(new Error(`no answer within ${readyWaitMs} ms`)));
  asked.once("error", (error) => say(503, `the agent does not serve: ${error.message}`));
  asked.end();
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text = `${text}${String(chunk)}`.slice(0, readyTextMax);
  return text.trimEnd();
}

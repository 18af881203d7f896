// Asking a lab's API server from any namespace: JSON by TLS through a door, which is a unix socket.

import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { Fault } from "../src/base/fault.ts";
import type { KeyPair } from "./certificates.ts";

/** The server answers from memory. */
const answerWithinMs = 10_000;

export interface ApiOptions {
  /** The door's socket. */
  socket: string;
  /** The name that the server's certificate has. */
  serverName: string;
  authority: string;
  client: KeyPair;
  /** Connections that stay for the next call, at most; none if absent, so that no call meets one whose server is gone. */
  kept?: number;
}

export interface Answer {
  status: number;
  body: unknown;
}

export interface Api {
  /** One call; gives the answer whatever its status. @throws Fault "lab-failed" where there is none */
  ask(method: string, path: string, body?: object, type?: string): Promise<Answer>;
  /** One call that must succeed; gives the body. @throws Fault "lab-failed" with the server's words */
  must(method: string, path: string, body?: object, type?: string): Promise<unknown>;
}

/** A client of the server behind `socket`. */
export function createApi({ socket, serverName, authority, client, kept = 0 }: ApiOptions): Api {
  const [ca, cert, key] = [authority, client.certificate, client.key].map((file) => readFileSync(file));
  const agent = new Agent({
    ca,
    cert,
    key,
    servername: serverName,
    keepAlive: kept > 0,
    ...(kept > 0 ? { maxSockets: kept } : {}),
  });

  const ask: Api["ask"] = (method, path, body, type = "application/json") =>
    new Promise((done, failed) => {
      const fail = (cause: Error): void =>
        failed(new Fault("lab-failed", `the API server gave no answer for ${method} ${path}`, { cause }));
      const text = body === undefined ? "" : JSON.stringify(body);
      // The length is said for every method: a DELETE would else send its body without one.
      const headers = {
        host: serverName,
        "content-length": Buffer.byteLength(text),
        ...(text === "" ? {} : { "content-type": type }),
      };
      const call = request(
        { socketPath: socket, agent, method, path, headers, timeout: answerWithinMs },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", fail);
          response.on("end", () => {
            const answer = Buffer.concat(chunks).toString("utf8");
            done({ status: response.statusCode ?? 0, body: answer === "" ? undefined : JSON.parse(answer) });
          });
        },
      );
      call.on("timeout", () => call.destroy(new Error(`no answer within ${answerWithinMs} ms`)));
      call.on("error", fail);
      call.end(text);
    });

  return {
    ask,
    must: async (method, path, body, type) => accepted(await ask(method, path, body, type), `${method} ${path}`),
  };
}

/** The body of a success. @throws Fault "lab-failed" with the call and the server's words */
export function accepted({ status, body }: Answer, call: string): unknown {
  if (status >= 200 && status < 300) return body;
  throw new Fault("lab-failed", `${call} was answered with ${status}: ${JSON.stringify(body)}`);
}
